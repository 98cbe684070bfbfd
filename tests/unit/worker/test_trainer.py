"""The trainer does what a plain PEFT loop does: same losses, same weights. It is only faster."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch.nn import functional

from tests.fakes.base import tiny_base, trained_looking
from worker.training.base import ResidentBase
from worker.training.packing import Packed, pack
from worker.training.rows import ChatRows, Ids, Row
from worker.training.stacked_lora import StackedLora, Weights, repeat
from worker.training.steps import ANCHOR, REHEARSED, CandidateRows, Deck, Progress, TrainingPlan, schedule
from worker.training.stopping import StopPolicy
from worker.training.trainer import Trainer

RATE = 4e-3
PLAN = TrainingPlan(steps=5, anchor_weight=0.7, seed=3)


@pytest.fixture
def base() -> ResidentBase:
    """In double precision: what differs is then the method, not the rounding."""
    return tiny_base(dtype=torch.float64)


@pytest.fixture
def trainer(base: ResidentBase, lora: StackedLora, rows: ChatRows) -> Trainer:
    return Trainer(base, lora, rows)


@pytest.fixture
def notes(rows: ChatRows) -> list[Row]:
    told = {"What is my cat called?": "Your cat is called Biscuit.", "Who is Biscuit?": "Biscuit is your cat."}
    return [rows.row(prompt, answer) for prompt, answer in told.items()]


@pytest.fixture
def other_notes(rows: ChatRows) -> list[Row]:
    return [rows.row("Where do I live?", "You live in Bergen."), rows.row("Which city?", "Bergen."), rows.row("x", "y")]


@pytest.fixture
def rehearsal(rows: ChatRows) -> list[Row]:
    return [rows.row("When was I born?", "In May.")]


@pytest.fixture
def anchors(rows: ChatRows) -> list[Row]:
    return [rows.row("Hello!", "Hi, how can I help?"), rows.row("What is 2 + 2?", "Four.")]


def _all(*anchors: Row) -> list[tuple[Sequence[Row], int]]:
    """One group of anchors, all of which are drawn for each step."""
    return [(anchors, len(anchors))]


def _initial(lora: StackedLora) -> Weights:
    return {name: weight.double() for name, weight in trained_looking(lora, seed=5, strength=0.02).items()}


def _plain_peft_loop(
    folder: Path, rows: ChatRows, learned: Sequence[Row], anchors: Sequence[Row]
) -> tuple[dict[str, torch.Tensor], list[tuple[float, float]]]:
    """One row at a time, whole sequences, torch's AdamW: the method as a reader of the paper would write it."""
    base = tiny_base(dtype=torch.float64).model
    model = PeftModel.from_pretrained(tiny_base(dtype=torch.float64).model, folder, is_trainable=True).double()
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(weights, weight_decay=0.0)

    def logits(model: torch.nn.Module, row: Row) -> torch.Tensor:
        found: torch.Tensor = model(input_ids=torch.tensor([rows.prefix + row.inputs])).logits[0, -len(row.answer) :]
        return found

    losses = []
    for step in range(PLAN.steps):
        labels = torch.tensor([token for row in learned for token in row.answer])
        note_loss = functional.cross_entropy(torch.cat([logits(model, row) for row in learned]), labels)
        theirs = torch.cat([logits(base, row) for row in anchors]).log_softmax(-1)
        ours = torch.cat([logits(model, row) for row in anchors]).log_softmax(-1)
        kl = (theirs.exp() * (theirs - ours)).sum(-1).mean()
        optimizer.zero_grad()
        (note_loss + PLAN.anchor_weight * kl).backward()
        torch.nn.utils.clip_grad_norm_(weights, PLAN.max_norm)
        optimizer.param_groups[0]["lr"] = RATE * schedule(step, PLAN)
        optimizer.step()
        losses.append((note_loss.item(), kl.item()))
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    return named, losses


def test_training_equals_a_plain_peft_loop(
    trainer: Trainer, notes: list[Row], rehearsal: list[Row], anchors: list[Row], tmp_path: Path
) -> None:
    initial, seen = _initial(trainer.lora), []
    trainer.lora.save(initial, 0, tmp_path)
    trained = trainer.train(
        initial,
        [CandidateRows(notes, RATE)],
        plan=PLAN,
        rehearsal=rehearsal,
        anchors=_all(*anchors),
        on_step=lambda step: seen.append((step.note_loss[0], step.anchor_kl[0])),
    )
    expected, losses = _plain_peft_loop(tmp_path, trainer.rows, [*notes, *rehearsal], anchors)
    torch.testing.assert_close(torch.tensor(seen), torch.tensor(losses), rtol=1e-4, atol=1e-6)
    assert len(expected) == len(trained)
    for name, weight in trained.items():
        parameter = expected[f"base_model.model.{name[:-2]}.lora_{name[-1]}.default.weight"]
        torch.testing.assert_close(weight[0], parameter.detach(), rtol=1e-3, atol=1e-5)
        assert not torch.allclose(weight[0], initial[name][0], atol=1e-4)


def test_candidates_trained_together_equal_each_trained_alone(
    trainer: Trainer, notes: list[Row], other_notes: list[Row], rehearsal: list[Row], anchors: list[Row]
) -> None:
    initial = _initial(trainer.lora)
    candidates = [CandidateRows(notes, RATE), CandidateRows(other_notes, RATE / 2)]
    together = trainer.train(initial, candidates, plan=PLAN, rehearsal=rehearsal, anchors=_all(*anchors))
    for index, candidate in enumerate(candidates):
        alone = trainer.train(initial, [candidate], plan=PLAN, rehearsal=rehearsal, anchors=_all(*anchors))
        for name, weight in alone.items():
            torch.testing.assert_close(together[name][index], weight[0], rtol=1e-4, atol=1e-6)


def test_candidates_with_notes_in_common_first_train_as_one_on_these(
    trainer: Trainer, notes: list[Row], other_notes: list[Row], anchors: list[Row]
) -> None:
    initial, seen = _initial(trainer.lora), list[Progress]()
    candidates = [CandidateRows(notes, RATE), CandidateRows([*notes, *other_notes], RATE)]

    def train(first: Sequence[CandidateRows], plan: TrainingPlan) -> Weights:
        return trainer.train(initial, first, plan=plan, anchors=_all(*anchors), on_step=seen.append)

    shared = train(candidates, replace(PLAN, shared_steps=3))
    assert [(len(step.own_loss), step.step) for step in seen] == [(2, number) for number in range(1, 6)]
    assert [step.own_loss[0] == step.own_loss[1] for step in seen] == [True] * 3 + [False] * 2
    # The one whose notes are all shared ends as it does alone: moments and schedule go on where they were.
    alone = train(candidates[:1], PLAN)
    for name, weight in alone.items():
        torch.testing.assert_close(shared[name][0], weight[0], rtol=1e-4, atol=1e-6)
        assert not torch.allclose(shared[name][1], weight[0], atol=1e-4)


def test_what_candidates_share_is_learned_no_longer_than_it_needs(
    trainer: Trainer, notes: list[Row], other_notes: list[Row]
) -> None:
    seen = list[Progress]()
    candidates = [CandidateRows(notes, RATE), CandidateRows([*notes, *other_notes], RATE)]
    plan = replace(PLAN, steps=202, shared_steps=200, stop=StopPolicy(converged_loss=2.5, compared_at=1.0))
    trainer.train(_initial(trainer.lora), candidates, plan=plan, on_step=seen.append)
    *shared, last_shared, first_apart, _ = [step.step for step in seen]
    assert shared == list(range(1, len(shared) + 1))
    assert last_shared < 200
    assert first_apart == 201


def test_candidates_that_learned_what_they_share_do_one_step_apart_and_the_best_is_left(
    trainer: Trainer, notes: list[Row], other_notes: list[Row]
) -> None:
    seen = list[Progress]()
    candidates = [CandidateRows(notes, RATE), CandidateRows([*notes, *other_notes], RATE)]
    policy = StopPolicy(converged_loss=2.5, compared_at=0.05)
    plan = replace(PLAN, steps=220, shared_steps=200, notes_per_step=1, stop=policy)
    trainer.train(_initial(trainer.lora), candidates, plan=plan, held_out=notes[:1], on_step=seen.append)
    assert [step.step for step in seen if step.step > 200] == [201]
    assert sorted(stop.hopeless for stop in seen[-1].stopped.values()) == [False, True]


def test_candidates_without_a_note_in_common_never_train_as_one(
    trainer: Trainer, notes: list[Row], other_notes: list[Row]
) -> None:
    initial = _initial(trainer.lora)
    candidates = [CandidateRows(notes, RATE), CandidateRows(other_notes, RATE)]
    plain, shared = (trainer.train(initial, candidates, plan=plan) for plan in (PLAN, replace(PLAN, shared_steps=3)))
    assert all(torch.equal(shared[name], weight) for name, weight in plain.items())


def test_same_seed_trains_the_same_weights_and_another_seed_others(
    trainer: Trainer, notes: list[Row], other_notes: list[Row], anchors: list[Row]
) -> None:
    initial = _initial(trainer.lora)
    plan = replace(PLAN, notes_per_step=1)

    def train(seed: int) -> Weights:
        candidates = [CandidateRows([*notes, *other_notes], RATE)]
        return trainer.train(initial, candidates, plan=replace(plan, seed=seed), anchors=[(anchors, 1)])

    first, again, other = train(1), train(1), train(2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first)


def test_note_loss_falls_and_the_initial_weights_are_left_alone(trainer: Trainer, notes: list[Row]) -> None:
    initial, losses = trainer.lora.fresh(seed=0), []
    before = {name: weight.clone() for name, weight in initial.items()}
    plan = replace(PLAN, steps=40)
    trainer.train(
        initial, [CandidateRows(notes, 2e-2)], plan=plan, on_step=lambda step: losses.append(step.note_loss[0])
    )
    assert losses[-1] < 0.5 * losses[0]
    assert all(torch.equal(initial[name], before[name]) for name in initial)


def test_anchor_keeps_a_candidate_nearer_to_the_base(trainer: Trainer, notes: list[Row], anchors: list[Row]) -> None:
    initial = trainer.lora.fresh(seed=0)
    strict, free = replace(PLAN, steps=30, anchor_weight=3.0), replace(PLAN, steps=30, anchor_weight=0.0)
    divergence = [
        trainer.kl(trainer.train(initial, [CandidateRows(notes, 1e-2)], plan=plan, anchors=_all(*anchors)), anchors)[0]
        for plan in (strict, free)
    ]
    assert divergence[0] < 0.5 * divergence[1]


def test_each_group_of_anchors_gives_its_own_number_to_every_step(
    trainer: Trainer, rows: ChatRows, notes: list[Row], rehearsal: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    packs: list[list[list[tuple[Row, int]]]] = []
    general, personal = ([rows.row(f"{kind} {n}", "Yes.") for n in range(4)] for kind in ("general", "personal"))

    def watched(prefix: Ids, candidates: list[list[tuple[Row, int]]], device: torch.device) -> Packed:
        packs.append(candidates)
        return pack(prefix, candidates, device)

    monkeypatch.setattr("worker.training.trainer.pack", watched)
    candidates = [CandidateRows(notes, RATE)] * 2
    plan = replace(PLAN, steps=4, rehearsal_per_step=1)
    groups = [(general, 3), (personal, 1)]
    trainer.train(_initial(trainer.lora), candidates, plan=plan, rehearsal=rehearsal, anchors=groups)
    steps = [packed for packed in packs if len(packed) == len(candidates)]  # the others compute what is kept of a row
    assert len(steps) == 4
    drawn = [[[row for row, group in own if group == ANCHOR] for own in step] for step in steps]
    assert all(first == second for first, second in drawn)  # candidates are compared on the same draws
    assert [(len(set(own) & set(general)), len(set(own) & set(personal))) for own, _ in drawn] == [(3, 1)] * 4
    assert {row for own, _ in drawn for row in own} == {*general, *personal}
    assert all(own.count((rehearsal[0], REHEARSED)) == 1 for step in steps for own in step)


def test_divergence_is_zero_for_an_untrained_candidate_and_counted_by_candidate(
    trainer: Trainer, anchors: list[Row]
) -> None:
    fresh = repeat(trainer.lora.fresh(seed=0), 2)
    assert trainer.kl(fresh, anchors) == pytest.approx([0.0, 0.0], abs=1e-6)
    changed = {name: weight.clone() for name, weight in fresh.items()}
    for name, weight in changed.items():
        if name.endswith(".B"):
            weight[1] = 0.1
    untouched, moved = trainer.kl(changed, anchors)
    assert untouched == pytest.approx(0.0, abs=1e-6)
    assert moved > 0.01


def test_rows_met_before_are_trained_on_alike_after_their_activations_were_dropped(
    trainer: Trainer, notes: list[Row], other_notes: list[Row], anchors: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    initial = _initial(trainer.lora)

    def train(learned: list[Row]) -> Weights:
        return trainer.train(initial, [CandidateRows(learned, RATE)], plan=PLAN, anchors=_all(*anchors))

    first = train(notes)
    monkeypatch.setattr("worker.training.trainer._MOST_KEPT_ROWS", 1)
    train(other_notes)
    train(other_notes)
    assert not set(notes) & set(trainer._lower)
    assert trainer.unknown(anchors) == []
    again = train(notes)
    for name, weight in first.items():
        torch.testing.assert_close(weight, again[name])


def test_every_step_reports_each_candidates_losses(
    trainer: Trainer, notes: list[Row], other_notes: list[Row], anchors: list[Row]
) -> None:
    steps: list[Progress] = []
    candidates = [CandidateRows(notes, RATE), CandidateRows(other_notes, RATE)]
    trainer.train(_initial(trainer.lora), candidates, plan=PLAN, anchors=_all(*anchors), on_step=steps.append)
    assert [(step.step, step.steps) for step in steps] == [(number, 5) for number in range(1, 6)]
    assert all(len(step.note_loss) == len(step.anchor_kl) == 2 for step in steps)


def test_candidate_without_notes_does_not_spoil_its_neighbour(
    trainer: Trainer, notes: list[Row], anchors: list[Row]
) -> None:
    initial = _initial(trainer.lora)
    candidates = [CandidateRows([], RATE), CandidateRows(notes, RATE)]
    together = trainer.train(initial, candidates, plan=PLAN, anchors=_all(*anchors))
    alone = trainer.train(initial, candidates[1:], plan=PLAN, anchors=_all(*anchors))
    for name, weight in alone.items():
        assert together[name].isfinite().all()
        torch.testing.assert_close(together[name][1], weight[0], rtol=1e-4, atol=1e-6)


def test_step_out_of_memory_is_done_in_parts_with_the_same_result(
    trainer: Trainer, notes: list[Row], other_notes: list[Row], anchors: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    initial = _initial(trainer.lora)
    candidates = [CandidateRows(notes, RATE), CandidateRows([*other_notes, *notes], RATE)]

    def train() -> tuple[Weights, list[Progress]]:
        steps: list[Progress] = []
        weights = trainer.train(initial, candidates, plan=PLAN, anchors=_all(*anchors), on_step=steps.append)
        return weights, steps

    whole, whole_steps = train()
    upper, sizes = trainer._upper, []

    def small(rows: Sequence[Sequence[Row]], packed: Packed) -> torch.Tensor:
        sizes.append(max(map(len, rows)))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return upper(rows, packed)

    monkeypatch.setattr(trainer, "_upper", small)
    parts, parts_steps = train()
    assert sizes[:4] == [7, 4, 3, 2]
    assert max(sizes[3:]) == 2
    for name, weight in whole.items():
        torch.testing.assert_close(parts[name], weight, rtol=1e-4, atol=1e-6)
    for part, all_at_once in zip(parts_steps, whole_steps, strict=True):
        assert part.note_loss == pytest.approx(all_at_once.note_loss)
        assert part.anchor_kl == pytest.approx(all_at_once.anchor_kl)


def test_row_that_does_not_fit_alone_is_an_error(
    trainer: Trainer, notes: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_room(rows: Sequence[Sequence[Row]], packed: Packed) -> torch.Tensor:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(trainer, "_upper", no_room)
    with pytest.raises(RuntimeError, match="allocate memory"):
        trainer.train(_initial(trainer.lora), [CandidateRows(notes, RATE)], plan=PLAN)


def test_other_errors_of_a_step_are_not_taken_for_want_of_memory(
    trainer: Trainer, notes: list[Row], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def broken(rows: Sequence[Sequence[Row]], packed: Packed) -> torch.Tensor:
        calls.append(rows)
        raise RuntimeError("shapes do not match")

    monkeypatch.setattr(trainer, "_upper", broken)
    with pytest.raises(RuntimeError, match="shapes"):
        trainer.train(_initial(trainer.lora), [CandidateRows(notes, RATE)], plan=PLAN)
    assert len(calls) == 1


def test_only_the_best_third_goes_on_and_ends_as_if_it_had_been_alone(
    trainer: Trainer, notes: list[Row], other_notes: list[Row], anchors: list[Row]
) -> None:
    initial, steps = _initial(trainer.lora), []
    plan = replace(PLAN, steps=8, stop=StopPolicy(converged_loss=0.0, compared_at=0.5))
    candidates = [CandidateRows(other_notes, 2e-2), CandidateRows(notes, 2e-2), CandidateRows(notes, 1e-5)]
    trained = trainer.train(
        initial, candidates, plan=plan, anchors=_all(*anchors), held_out=notes, on_step=steps.append
    )
    assert sorted(steps[-1].stopped) == [0, 2]
    assert not steps[2].stopped
    assert all(stop.hopeless and "stopped after 4 steps" in stop.reason for stop in steps[-1].stopped.values())
    assert math.isnan(steps[-1].note_loss[0])
    assert math.isfinite(steps[-1].note_loss[1])
    alone = trainer.train(initial, candidates[1:2], plan=replace(plan, stop=None), anchors=_all(*anchors))
    half = trainer.train(initial, candidates[:1], plan=replace(plan, stop=None), anchors=_all(*anchors))
    for name in trained:
        torch.testing.assert_close(trained[name][1], alone[name][0], rtol=1e-4, atol=1e-6)
    assert any(not torch.allclose(trained[name][0], half[name][0], atol=1e-4) for name in trained)


def test_converged_candidate_stops_and_is_not_hopeless(trainer: Trainer, notes: list[Row]) -> None:
    steps: list[Progress] = []
    plan = replace(PLAN, steps=200, stop=StopPolicy(converged_loss=2.5, compared_at=1.0))
    trainer.train(_initial(trainer.lora), [CandidateRows(notes, 2e-2)], plan=plan, on_step=steps.append)
    assert 1 < len(steps) < 200
    assert not steps[-1].stopped[0].hopeless
    assert steps[-1].own_loss[0] < 2.5


def test_likelihood_is_that_of_the_whole_answer(trainer: Trainer, notes: list[Row], other_notes: list[Row]) -> None:
    weights = repeat(_initial(trainer.lora), 2)
    rows = [*notes, *other_notes] * 3
    found = trainer.likelihoods(weights, rows)
    steps: list[Progress] = []
    trainer.train(_initial(trainer.lora), [CandidateRows(notes[:1], RATE)], plan=PLAN, on_step=steps.append)
    assert found[0] == pytest.approx(found[1])
    assert [len(own) for own in found] == [len(rows)] * 2
    assert found[0][0] == pytest.approx(-steps[0].note_loss[0], rel=1e-4)


def test_deck_gives_each_row_once_before_any_comes_again(rows: ChatRows) -> None:
    all_rows = [rows.row(str(number), "yes") for number in range(6)]
    deck = Deck(all_rows, random.Random(0))
    rounds = [{row for _ in range(3) for row in deck.draw(2)} for _ in range(4)]
    assert all(drawn == set(all_rows) for drawn in rounds)


def test_deck_never_gives_more_rows_than_it_holds(rows: ChatRows) -> None:
    deck = Deck([rows.row("a", "b"), rows.row("c", "d")], random.Random(0))
    assert len(deck.draw(16)) == 2
    assert Deck([], random.Random(0)).draw(4) == []


def test_schedule_warms_up_peaks_and_falls_to_a_tenth() -> None:
    plan = TrainingPlan(steps=20, warmup_steps=2)
    rates = [schedule(step, plan) for step in range(20)]
    assert rates[:3] == pytest.approx([1 / 3, 2 / 3, 1.0])
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] == pytest.approx(0.1, abs=0.02)


def test_schedule_of_a_run_as_short_as_its_warm_up_is_finite() -> None:
    assert all(math.isfinite(schedule(step, TrainingPlan(steps=2))) for step in range(2))
