"""The question encoder: what its loss wants, what it trains on, and that versions carry it unchanged."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel
from structlog.testing import capture_logs

from tests.fakes.base import tiny_base, trained_looking
from worker.encoder.contrast import Batches, contrast, groups_of, nearest_share
from worker.encoder.reading import read_encoder
from worker.training.rows import ChatRows, Row
from worker.training.stacked_lora import StackedLora, Weights, stack
from worker.training.steps import CandidateRows, TrainingPlan
from worker.training.trainer import Trainer

FIRST_LAYER = 2
PLAN = TrainingPlan(steps=3, notes_per_step=2, rehearsal_per_step=0, seed=1)


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder of rank 2 on the layers below the trained ones, that changes what they compute."""
    lora = StackedLora(tiny_base(), rank=2, first_layer=FIRST_LAYER).below(FIRST_LAYER, rank=2)
    folder = tmp_path_factory.mktemp("encoder")
    lora.save(trained_looking(lora, seed=5), 0, folder)
    return folder


def _lora(folder: Path | None, *, rank: int = 4) -> StackedLora:
    lora = StackedLora(tiny_base(), rank=rank, first_layer=FIRST_LAYER)
    if folder:
        lora.encoder = read_encoder(lora, folder)
    return lora


def _trainer(lora: StackedLora) -> Trainer:
    return Trainer(lora.base, lora, ChatRows(lora.base.tokenizer))


def _notes(trainer: Trainer) -> list[Row]:
    return [trainer.rows.row("What is my cat called?", "Biscuit."), trainer.rows.row("Where do I live?", "In Bergen.")]


def _train(trainer: Trainer, initial: Weights) -> Weights:
    return trainer.train(initial, [CandidateRows(_notes(trainer), 1e-2)], plan=PLAN)


def _logits(lora: StackedLora, weights: Weights | None) -> torch.Tensor:
    ids = torch.tensor([[1, 5, 9, 2, 7]])
    with torch.no_grad(), lora.use(weights):
        logits: torch.Tensor = lora.base.model(input_ids=ids).logits
    return logits


def test_wordings_of_one_question_are_wanted_nearer_than_any_other() -> None:
    groups = torch.tensor([0, 0, 1, 1, 2])
    apart = torch.tensor([[1.0, 0, 0], [1, 0.1, 0], [0, 1, 0], [0, 1, 0.1], [0, 0, 1]])
    mixed = apart[[0, 2, 1, 3, 4]]
    assert contrast(apart, groups, temperature=0.1) < 0.1 < contrast(mixed, groups, temperature=0.1)
    alone = contrast(apart[:4], groups[:4], temperature=0.1)
    assert contrast(apart, groups, temperature=0.1) >= alone  # a single question repels, and wants nothing itself


def test_share_of_questions_found_by_another_wording() -> None:
    known = torch.tensor([[1.0, 0], [0, 1.0], [-1.0, -1.0]])
    asked = torch.tensor([[0.9, 0.1], [0.8, 0.2]])
    assert nearest_share(known, [0, 1, 2], asked, [0, 1]) == 0.5


def test_batches_hold_two_wordings_of_each_question_and_single_others() -> None:
    facts = groups_of(
        [
            {"facts": [{"quote": "q", "details": [{"questions": ["a1", "a2", "a3"]}, {"questions": ["b1", "b2"]}]}]},
            {"facts": [{"quote": "only for extraction"}, {"details": [{"questions": ["worded once"]}]}]},
        ]
    )
    assert facts == [[["a1", "a2", "a3"], ["b1", "b2"]]]
    batch = Batches(facts, ["x", "y"], num_facts=1, num_singles=2, seed=0).draw()
    by_group = {
        number: [q for q, g in zip(batch.questions, batch.groups, strict=True) if g == number] for number in range(4)
    }
    assert sorted(len(wordings) for wordings in by_group.values()) == [1, 1, 2, 2]
    assert all(len({wording[0] for wording in wordings}) == 1 for wordings in by_group.values())


def test_new_candidates_carry_the_encoder_and_training_leaves_it_as_it_is(encoder_folder: Path) -> None:
    lora = _lora(encoder_folder)
    fresh = lora.fresh(seed=0)
    assert not torch.equal(_logits(lora, fresh), _logits(lora, None))
    trained = _train(_trainer(lora), fresh)
    assert trained.keys() == fresh.keys()
    changed = {key for key in fresh if not torch.equal(trained[key], fresh[key])}
    assert changed == {key for key in fresh if lora.is_trained(key)}
    assert not any(key in lora.encoder for key in changed)


def test_training_above_the_encoder_sees_what_the_whole_model_computes(encoder_folder: Path) -> None:
    """The kept activations are those that the encoder gives: the same steps without any kept ones, all layers run."""
    lora = _lora(encoder_folder)
    trained = _train(_trainer(lora), lora.fresh(seed=0))
    whole = StackedLora(tiny_base(), rank=4, first_layer=0)
    only_upper = _trainer(whole)
    whole.trained = lora.trained
    whole.first_layer = 0
    again = _train(only_upper, lora.fresh(seed=0))
    for key, weight in trained.items():
        torch.testing.assert_close(again[key], weight, rtol=1e-3, atol=1e-5)


def test_what_was_kept_under_one_encoder_is_not_used_under_another(encoder_folder: Path) -> None:
    lora = _lora(encoder_folder)
    without = {key: value for key, value in lora.fresh(seed=0).items() if lora.is_trained(key)}
    alone = _train(_trainer(_lora(None)), without)
    mixed = _trainer(lora)
    _train(mixed, lora.fresh(seed=0))
    after = _train(mixed, without)
    for key, weight in alone.items():
        torch.testing.assert_close(after[key], weight)


def test_a_saved_version_is_a_plain_peft_folder_with_the_encoder_in_it(encoder_folder: Path, tmp_path: Path) -> None:
    lora = _lora(encoder_folder)
    weights = _train(_trainer(lora), lora.fresh(seed=0))
    lora.save(weights, 0, tmp_path)
    loaded = lora.load(tmp_path)
    assert loaded.keys() == weights.keys()
    plain = PeftModel.from_pretrained(tiny_base().model, tmp_path)
    with torch.no_grad():
        logits = plain(input_ids=torch.tensor([[1, 5, 9, 2, 7]])).logits
    torch.testing.assert_close(_logits(lora, loaded), logits, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("rank", "first_layer"), [(1, FIRST_LAYER), (4, FIRST_LAYER - 1)])
def test_an_encoder_that_needs_a_higher_rank_or_layers_that_are_trained_is_not_used(
    encoder_folder: Path, rank: int, first_layer: int
) -> None:
    with capture_logs() as logs:
        assert read_encoder(StackedLora(tiny_base(), rank=rank, first_layer=first_layer), encoder_folder) == {}
    assert [entry["event"] for entry in logs] == ["encoder.not_used"]


def test_a_version_without_encoder_beside_one_with_it_stays_without(encoder_folder: Path) -> None:
    lora = _lora(encoder_folder)
    without = {key: value for key, value in lora.fresh(seed=0).items() if lora.is_trained(key)}
    both = stack(without, lora.fresh(seed=0))
    ids = torch.tensor([[1, 5, 9, 2, 7]]).repeat(2, 1)
    with torch.no_grad(), lora.use(both):
        logits = lora.base.model(input_ids=ids).logits
    torch.testing.assert_close(logits[:1], _logits(lora, without))
    torch.testing.assert_close(logits[1:], _logits(lora, lora.fresh(seed=0)))
