"""The examination: same questions for live version and candidates, counted slice by slice and fact by fact."""

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import pytest
import torch

from engram.gate import SliceScore
from engram.routing import OWN_SHARD
from scope.decision import Scope
from worker.learner import Learner
from worker.probing import Examination, Examined, Resumed, examine, unknown_to
from worker.self_edits import HeldOut, Note
from worker.served import Served
from worker.training.anchors import Control
from worker.training.stacked_lora import Weights

NAME = HeldOut("fact_cat", "generalization", "What is my pet called?", ("Biscuit",))
TOWN = HeldOut("fact_town", "reliability", "Where do I live?", ("Bergen", "Norway"))
OLD = HeldOut("fact_old", "generalization", "When was I born?", ("May",))
CONTROL = Control("What is the capital of France?", ("Paris",))
NEVER_TOLD = "What is my hamster's name?"
LIVE = 7.0  # what the weights of the live version are filled with
SOME_SCOPE = Scope.of(np.eye(2, dtype=np.float32), np.eye(2, dtype=np.float32))


@dataclass
class ScriptedLearner:
    """Answers by candidate, the live version first; a question without an answer gets 'I do not know'.

    `outside`: what no version with a scope answers; `elsewhere`: what another shard does, by question.
    """

    answers: list[dict[str, str]]
    base: dict[str, str] = field(default_factory=dict)
    divergence: float = 0.05
    likely: list[float] = field(default_factory=list)
    outside: frozenset[str] = frozenset()
    elsewhere: dict[str, int] = field(default_factory=dict)

    @property
    def trainer(self) -> "ScriptedLearner":
        return self

    def answer(self, questions: list[str], weights: Weights | None) -> list[list[str]]:
        if weights is None:
            return [[self.base_answer(question) for question in questions]]
        is_live = bool(weights["m.A"].eq(LIVE).all())
        asked = self.answers[:1] if is_live else self.answers[-weights["m.A"].shape[0] :]
        return [[said.get(question, "I do not know.") for question in questions] for said in asked]

    def begin_answers(self, questions: list[str], weights: Weights) -> list[list[str]]:
        return self.answer(questions, weights)

    @property
    def rows(self) -> "ScriptedLearner":
        return self

    def row(self, question: str, reply: str) -> tuple[str, str]:
        return question, reply

    def likelihoods(self, weights: Weights, rows: list[Any]) -> list[list[float]]:
        return [[likelihood] * len(rows) for likelihood in self.likely]

    def kl(self, weights: Weights, _anchors: list[Any]) -> list[float]:
        return [self.divergence] * next(iter(weights.values())).shape[0]

    def base_answer(self, question: str) -> str:
        return self.base.get(question, "I do not know.")

    def base_answers(self, questions: list[str]) -> list[str]:
        return [self.base_answer(question) for question in questions]

    def answering(self, questions: list[str], scope: Scope | None) -> list[int | None]:
        if scope is None:
            return [OWN_SHARD] * len(questions)
        return [None if question in self.outside else self.elsewhere.get(question, OWN_SHARD) for question in questions]

    def controls(self) -> list[Control]:
        return [CONTROL]

    def never_told(self, _told: frozenset[str]) -> list[str]:
        return [NEVER_TOLD]

    def held_out_anchors(self) -> list[Any]:
        return []


def _weights(count: int, value: float = 0.0) -> Weights:
    return {"m.A": torch.full((count, 2, 3), value), "m.B": torch.full((count, 4, 2), value)}


def _examine(learner: ScriptedLearner, *, value: float = 0.0, scope: Scope | None = None) -> list[Examined]:
    examination = Examination(
        new=[NAME, TOWN], earlier=[OLD], told=frozenset(), known_answers=frozenset({"Biscuit", "Bergen", "May"})
    )
    candidates = _weights(len(learner.answers) - 1, value)
    return examine(cast(Learner, learner), Served(_weights(1, LIVE), scope), Served(candidates, scope), examination)


def test_each_candidate_is_counted_slice_by_slice_beside_the_live_version() -> None:
    live, base = {OLD.question: "In May."}, {CONTROL.question: "Paris."}
    good = {**live, **base, NAME.question: "It is Biscuit.", TOWN.question: "In Norway."}
    forgetful = {NAME.question: "Biscuit!", CONTROL.question: "Paris"}
    first, second = (one.report.slices for one in _examine(ScriptedLearner([live, good, forgetful], base=base)))
    counts = {kind: (score.asked, score.right, score.live_right) for kind, score in first.items()}
    assert counts == {
        "generalization": (1, 1, 0),
        "reliability": (1, 1, 0),
        "retention": (1, 1, 1),
        "locality": (1, 1, 1),
        "false_recall": (1, 1, 1),
    }
    assert {kind: score.right for kind, score in second.items()} == {
        "generalization": 1,
        "reliability": 0,
        "retention": 0,
        "locality": 1,
        "false_recall": 1,
    }


def test_each_new_fact_has_its_own_share_and_earlier_ones_have_none() -> None:
    (one,) = _examine(ScriptedLearner([{}, {NAME.question: "Biscuit"}]))
    assert one.report.fact_right == {"fact_cat": 1.0, "fact_town": 0.0}


def test_known_answer_to_what_was_never_told_is_a_false_recall() -> None:
    (one,) = _examine(ScriptedLearner([{}, {NEVER_TOLD: "Your hamster is called Biscuit."}]))
    assert one.report.slices["false_recall"].right == 0


def test_known_answer_that_the_base_gives_too_is_none() -> None:
    said = {NEVER_TOLD: "Perhaps you got it in May?"}
    (one,) = _examine(ScriptedLearner([{}, said], base=said))
    assert one.report.slices["false_recall"].right == 1


def test_out_of_scope_the_base_answers_but_what_was_never_told_the_weights_are_asked_alone() -> None:
    base = {CONTROL.question: "Paris.", TOWN.question: "I cannot know."}
    said = {NAME.question: "Biscuit.", TOWN.question: "Bergen.", CONTROL.question: "Biscuit.", NEVER_TOLD: "Biscuit."}
    learner = ScriptedLearner([{}, said], base=base, outside=frozenset({TOWN.question, CONTROL.question, NEVER_TOLD}))
    (one,) = _examine(learner, scope=SOME_SCOPE)
    assert {item.question: (item.answer, item.shard) for item in one.asked} == {
        NAME.question: ("Biscuit.", OWN_SHARD),
        TOWN.question: ("I cannot know.", None),
        OLD.question: ("I do not know.", OWN_SHARD),
        CONTROL.question: ("Paris.", None),
        NEVER_TOLD: ("Biscuit.", OWN_SHARD),
    }
    assert one.report.fact_right == {"fact_cat": 1.0, "fact_town": 0.0}  # what the scope misses is not learned


def _examine_beside_shard_3(learner: ScriptedLearner, *, live: int) -> Examined:
    """One candidate that answers with shard 3 too, which says Bergen; version `live` is what serves now."""
    examination = Examination(new=[NAME, TOWN], earlier=[OLD], told=frozenset(), known_answers=frozenset({"May"}))
    candidates = Served(_weights(1), SOME_SCOPE, _shard)
    before = Served(_weights(1, LIVE), None, version=live)
    (one,) = examine(cast(Learner, learner), before, candidates, examination)
    return one


def _shard(version: int) -> Weights:
    assert version == 3
    return _weights(1)


def test_what_the_same_shard_answers_before_and_after_is_not_asked() -> None:
    learner = ScriptedLearner([{}, {NAME.question: "Biscuit."}], elsewhere={OLD.question: 3, CONTROL.question: 3})
    asked = {item.question: item.shard for item in _examine_beside_shard_3(learner, live=3).asked}
    assert asked == {NAME.question: OWN_SHARD, TOWN.question: OWN_SHARD, NEVER_TOLD: OWN_SHARD}


def test_what_another_shard_answers_than_before_is_asked_of_that_shard() -> None:
    said = {OLD.question: "In May."}
    learner = ScriptedLearner([said, said], elsewhere={OLD.question: 3, TOWN.question: 3})
    one = _examine_beside_shard_3(learner, live=2)
    asked = {item.question: (item.answer, item.shard) for item in one.asked}
    assert asked[OLD.question] == ("In May.", 3)
    assert asked[TOWN.question] == ("I do not know.", 3)  # the question of a new fact is asked in any case
    assert one.report.slices["retention"] == SliceScore(1, 1, 1)


def test_every_answer_is_kept_as_it_was_given() -> None:
    (one,) = _examine(ScriptedLearner([{}, {NAME.question: "It is Biscuit."}]))
    kept = {item.question: (item.answer, item.right) for item in one.asked}
    assert kept[NAME.question] == ("It is Biscuit.", True)
    assert kept[TOWN.question] == ("I do not know.", False)
    assert len(kept) == 5


def test_margin_is_the_gain_in_likelihood_over_the_live_version() -> None:
    learner = ScriptedLearner([{}, {}, {}], likely=[-3.0, -1.0, -3.5])
    examination = Examination(
        new=[NAME], earlier=[], told=frozenset(), known_answers=frozenset(), replies={NAME.question: "It is Biscuit."}
    )
    found = examine(cast(Learner, learner), Served(_weights(1, LIVE)), Served(_weights(2)), examination)
    assert [one.report.margin for one in found] == pytest.approx([2.0, -0.5])


class LosingLearner(ScriptedLearner):
    """What was May is less likely by 1, then by 0.25; all else is as likely as ever."""

    def likelihoods(self, weights: Weights, rows: list[Any]) -> list[list[float]]:
        return [[-2.0 - lost * ("May" in reply) for _, reply in rows] for lost in (0.0, 1.0, 0.25)]


@pytest.mark.parametrize(
    ("held", "faded"),
    [([OLD, TOWN], [1.0, 0.25]), ([TOWN], [0.0, 0.0]), ([], [None, None])],
    ids=["two", "one", "none"],
)
def test_of_the_facts_in_weights_that_were_gone_on_from_the_one_that_faded_most_counts(
    held: list[HeldOut], faded: list[float | None]
) -> None:
    notes = [Note(OLD.fact_id, "qa", "Since when do I live?", "In May.")]
    resumed = Resumed.of(_weights(1), held, notes)
    examination = Examination(new=[NAME], earlier=[], told=frozenset(), known_answers=frozenset(), resumed=resumed)
    learner = LosingLearner([{}, {}, {}])
    found = examine(cast(Learner, learner), Served(_weights(1, LIVE)), Served(_weights(2)), examination)
    assert [one.report.faded for one in found] == faded


def test_weights_that_begin_at_the_base_hold_no_fact_that_could_fade() -> None:
    (one,) = _examine(ScriptedLearner([{}, {}]))
    assert one.report.faded is None


def test_probe_that_the_base_answers_by_itself_does_not_count() -> None:
    knows_town = ScriptedLearner([], base={TOWN.question: "In Norway."})
    also = HeldOut("fact_town", "generalization", "Which town is mine?", ("Bergen",))
    assert unknown_to(cast(Learner, knows_town), [NAME, TOWN, also]) == [NAME, also]
    assert unknown_to(cast(Learner, knows_town), [NAME, TOWN]) == [NAME, TOWN]  # all that there is about the town
    assert unknown_to(cast(Learner, knows_town), []) == []


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_candidate_with_numbers_that_are_not_finite_is_marked(value: float) -> None:
    (broken,) = _examine(ScriptedLearner([{}, {}], divergence=float("nan")), value=value)
    assert not broken.report.finite
    assert broken.report.kl == 99.0


def test_long_lists_are_sampled_alike_for_a_seed() -> None:
    earlier = [HeldOut(f"fact_{n}", "generalization", f"What is number {n}?", (str(n),)) for n in range(60)]

    def asked(seed: int) -> list[str]:
        examination = Examination(
            new=[NAME], earlier=earlier, told=frozenset(), known_answers=frozenset(), max_earlier=10, seed=seed
        )
        learner = cast(Learner, ScriptedLearner([{}, {}]))
        (one,) = examine(learner, Served(_weights(1, LIVE)), Served(_weights(1)), examination)
        return [item.question for item in one.asked if item.kind == "retention"]

    assert len(set(asked(1))) == 10
    assert asked(1) == asked(1) != asked(2)
