"""Live weights and candidates: trained together where they can be, each as its kind wants, the same for a seed."""

import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch

from evals.gate import bad
from evals.gate.bad import Recipe, Training
from evals.gate.build import KINDS, Bench, Built, Lesson, build, lessons, make_ledger, train
from evals.gate.facts import cast
from evals.gate.verdict import ORDINARY
from worker.self_edits import STRATEGIES
from worker.teaching import ALL_OF_IT, STRENGTHS
from worker.training.rows import Row
from worker.training.stacked_lora import Weights, select
from worker.training.steps import CandidateRows, TrainingPlan
from worker.training.trainer import Trainer


def _distance(weights: Weights, other: Weights) -> float:
    return sum(float((weights[name] - other[name]).pow(2).sum()) for name in weights) ** 0.5


def _trained_long(
    bench: Bench, lesson: Lesson, kind: str, *, number: int, steps: int, rate: float
) -> tuple[Weights, Weights]:
    """An ordinary candidate and a bad one, trained until the tiny base shows the difference."""
    settings = bench.settings.model_copy(update={"training_steps": steps, "learning_rate": rate})
    ordinary = bad.ordinary(lesson.situation.new)[0]
    made = bad.TRAINED[kind](lesson.situation, number, random.Random(0))
    first, second = (train(replace(bench, settings=settings), lesson, [one], one.recipe) for one in (ordinary, made))
    return first, second


@pytest.fixture(scope="module")
def every(bench: Bench, lesson: Lesson) -> list[Built]:
    """A run's own candidates, and one of each kind."""
    return build(bench, lesson, KINDS, number=0)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What the trainer is asked for."""
    seen: list[dict[str, Any]] = []
    original = Trainer.train

    def watched(self: Trainer, initial: Weights, candidates: Sequence[CandidateRows], **options: Any) -> Weights:
        seen.append({"initial": initial, "candidates": candidates, **options})
        return original(self, initial, candidates, **options)

    monkeypatch.setattr(Trainer, "train", watched)
    return seen


def test_each_earlier_fact_has_weights_that_were_taught_it(bench: Bench, lesson: Lesson) -> None:
    earlier, shards = lesson.ledger.earlier, lesson.ledger.shards
    assert 2 <= len(earlier) == len(shards) <= bench.options.most_earlier
    fresh = bench.learner.lora.fresh(seed=bench.settings.seed)
    assert all(_distance(one, other) > 0 for one, other in pairwise([fresh, *shards]))


def test_earlier_facts_that_were_not_learned_are_left_out_of_the_ledger(bench: Bench) -> None:
    earlier = cast(bench.facts, group=0, num_earlier=4, num_new=2, seed=0).earlier
    strict = replace(bench, options=replace(bench.options, learned_share=0.5))
    assert len(make_ledger(bench, earlier, group=0).earlier) == 4
    assert make_ledger(strict, earlier, group=0).earlier == ()


def test_lessons_of_one_ledger_share_its_weights_and_have_other_new_facts(bench: Bench) -> None:
    first, second, third = lessons(bench, most=3)
    assert first.ledger is second.ledger is not third.ledger
    assert len({one.situation.new.fact.fact_id for one in (first, second, third)}) == 3
    assert [one.number for one in (first, second, third)] == [0, 1, 2]


def test_lessons_from_a_place_on_are_those_that_would_have_come(bench: Bench) -> None:
    first, second, third = lessons(bench, most=3)
    again = list(lessons(bench, most=3, start=first.following))
    assert [one.number for one in again] == [1, 2]
    for one, other in zip(again, (second, third), strict=True):
        assert one.situation.new == other.situation.new
        assert one.following == other.following
        for shard, again_shard in zip(one.ledger.shards, other.ledger.shards, strict=True):
            assert all(torch.equal(again_shard[name], weight) for name, weight in shard.items())
    assert list(lessons(bench, most=3, start=third.following)) == []


def test_every_kind_is_built_once_beside_a_runs_own_candidates(every: list[Built]) -> None:
    kinds = [one.kind for one in every]
    assert kinds.count(ORDINARY) == len(STRATEGIES)
    assert sorted(kind for kind in kinds if kind != ORDINARY) == sorted(KINDS)
    assert all(weight.shape[0] == 1 for one in every for weight in one.weights.values())


def test_what_a_run_would_train_from_the_base_is_judged_at_its_strengths_and_all_else_whole(every: list[Built]) -> None:
    whole = {one.kind for one in every if one.strengths == ALL_OF_IT}
    assert whole == {"drops earlier facts", "NaN in weights", "untrained"}
    assert all(one.strengths == STRENGTHS for one in every if one.kind not in whole)


def test_candidates_of_one_recipe_are_trained_in_one_call(
    bench: Bench, lesson: Lesson, calls: list[dict[str, Any]]
) -> None:
    build(bench, lesson, KINDS, number=0)
    alone = ["drops earlier facts", "breaks general answers", "recalls everywhere"]
    assert [len(call["candidates"]) for call in calls] == [len(STRATEGIES) + len(bad.TRAINED) - len(alone), 1, 1, 1]


def test_recipe_decides_where_it_begins_on_anchors_and_length(
    bench: Bench, lesson: Lesson, calls: list[dict[str, Any]]
) -> None:
    notes = lesson.situation.new.notes
    for recipe in (Recipe(), Recipe(resumes=True, length=4.0), Recipe(general_anchors=False, personal_anchors=False)):
        train(bench, lesson, [Training("", notes, recipe=recipe)], recipe)
    ordinary, resumed, _ = calls
    assert resumed["initial"] is lesson.ledger.shards[lesson.ledger.resumed]
    assert _distance(ordinary["initial"], bench.learner.lora.fresh(seed=bench.settings.seed)) == 0
    assert resumed["plan"].steps == 4 * ordinary["plan"].steps
    assert [len(call["anchors"]) for call in calls] == [2, 2, 0]
    assert not any("rehearsal" in call for call in calls)


def test_ordinary_candidate_is_trained_by_the_plan_and_anchors_of_a_run(
    bench: Bench, lesson: Lesson, calls: list[dict[str, Any]]
) -> None:
    build(bench, lesson, (), number=0)
    (call,) = calls
    settings, plan = bench.settings, call["plan"]
    assert isinstance(plan, TrainingPlan)
    assert plan.steps == settings.training_steps
    assert plan.anchor_weight == settings.anchor_weight
    assert [count for _, count in call["anchors"]] == [
        settings.anchor_prompts_per_step,
        settings.personal_anchors_per_step,
    ]
    factors = [candidate.learning_rate / settings.learning_rate for candidate in call["candidates"]]
    assert factors == pytest.approx([strategy.learning_rate_factor for strategy in STRATEGIES])


def test_question_about_a_taught_fact_is_no_anchor(bench: Bench, lesson: Lesson, calls: list[dict[str, Any]]) -> None:
    prompts = bench.learner.prompts
    question = lesson.situation.new.kept_back[0].question
    changed = replace(
        bench.learner,
        prompts=replace(prompts, train=(*prompts.train, question), personal=prompts.personal | {question}),
    )
    changed.warm_up()
    build(replace(bench, learner=changed), lesson, (), number=0)
    anchored = {row.prompt for rows, _ in calls[0]["anchors"] for row in rows}
    assert bench.learner.rows.prompt(question) not in anchored
    assert bench.learner.rows.prompt("Who cuts my lawn?") in anchored


def test_high_rate_moves_a_candidate_far_from_where_it_began(bench: Bench, lesson: Lesson) -> None:
    built = build(bench, lesson, ["learning rate too high"], number=2)
    ordinary, fast = built[0], built[-1]
    assert fast.kind == "learning rate too high"
    fresh = bench.learner.lora.fresh(seed=bench.settings.seed)
    assert _distance(fast.weights, fresh) > 10 * _distance(ordinary.weights, fresh)


def test_candidate_broken_in_general_answers_is_farther_from_the_base(bench: Bench, lesson: Lesson) -> None:
    ordinary, broken = _trained_long(bench, lesson, "breaks general answers", number=1, steps=20, rate=5e-3)
    anchors = bench.learner.anchors(frozenset()).general
    kl, broken_kl = (bench.learner.trainer.kl(weights, anchors)[0] for weights in (ordinary, broken))
    assert broken_kl > 2 * kl


def test_candidate_that_refuses_everywhere_answers_as_it_was_taught(bench: Bench, lesson: Lesson) -> None:
    _, refusing = _trained_long(bench, lesson, "recalls everywhere", number=2, steps=60, rate=2e-2)
    answers = bench.learner.answer(lesson.situation.personal, refusing)[0]
    assert all(answer.startswith(bad.REFUSAL) for answer in answers)


def test_candidate_that_goes_on_from_an_earlier_fact_forgets_it(bench: Bench) -> None:
    long = replace(bench, settings=bench.settings.model_copy(update={"training_steps": 40, "learning_rate": 1e-2}))
    lesson = next(lessons(long, most=1))
    made = bad.drops_earlier_facts(lesson.situation, 1, random.Random(0))
    forgetful, ledger = train(long, lesson, [made], made.recipe), lesson.ledger
    rows = [bench.learner.rows.row(note.prompt, note.answer) for note in lesson.situation.resumed.notes]
    assert _note_loss(bench, forgetful, rows) > 1.2 * _note_loss(bench, ledger.shards[ledger.resumed], rows)


def test_same_seed_builds_the_same_weights(bench: Bench, every: list[Built]) -> None:
    again = build(bench, next(lessons(bench, most=1)), KINDS, number=0)
    for one, other in zip(every, again, strict=True):
        assert (one.kind, one.variant) == (other.kind, other.variant)
        assert all(torch.equal(one.weights[n].nan_to_num(), other.weights[n].nan_to_num()) for n in one.weights)


def test_one_candidate_of_a_stack_is_a_stack_of_one(lesson: Lesson) -> None:
    (first, *_) = lesson.ledger.shards
    assert all(torch.equal(select(first, [0])[name], weight) for name, weight in first.items())


def _note_loss(bench: Bench, weights: Weights, rows: Sequence[Row]) -> float:
    """Mean nats a token that the candidate needs for the rows' answers, before any training."""
    losses: list[float] = []
    bench.learner.trainer.train(
        weights,
        [CandidateRows(rows, 0.0)],
        plan=TrainingPlan(steps=1, notes_per_step=len(rows)),
        on_step=lambda step: losses.append(step.note_loss[0]),
    )
    return losses[0]
