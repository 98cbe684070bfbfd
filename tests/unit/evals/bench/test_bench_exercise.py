"""The bench trains on what the pipeline would: these tests fail when the two part."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from engram.lifecycle import RunKind
from engram.models import Candidate, Fact
from engram.settings import Settings
from engram.similarity import content_words
from evals.bench.exercise import FIVE_STRATEGIES, exercise_of
from evals.bench.ledger import studied_facts
from worker.curriculum import Lesson
from worker.learner import Learner
from worker.material import Material
from worker.pipeline import Pipeline
from worker.self_edits import STRATEGIES, choose_probes, notes_of
from worker.study import Study

FACTS = studied_facts()


def _lesson(new: Study, ledger: Sequence[Study]) -> Lesson:
    earlier = tuple(probe for fact in ledger for probe in choose_probes(fact))
    return Lesson(
        run_id="run_1",
        space_id="space_1",
        kind=RunKind.LEARN,
        parent_version=0,
        start=0,
        held={fact.fact_id: 1 for fact in ledger},
        renewed=frozenset({1}),
        attempt=0,
        new=(Fact(statement=new.statement, attempts=0),),
        kept={fact.fact_id: fact.statement for fact in ledger},
        given_probes=(),
        rehearsal=tuple(note for f in ledger for note in notes_of(f, STRATEGIES[1], probes=choose_probes(f))),
        elsewhere=(),
        earlier=earlier,
        told=frozenset().union(*(content_words(fact.statement) for fact in (new, *ledger))),
    )


def _material(new: Study) -> Material:
    probes = choose_probes(new)
    candidates = [
        Candidate(
            index=index,
            strategy=strategy.name,
            notes=[asdict(note) for note in notes_of(new, strategy, probes=probes)],
            settings={"learning_rate": strategy.learning_rate_factor},
        )
        for index, strategy in enumerate(STRATEGIES)
    ]
    return Material(tuple(candidates), tuple(probes), frozenset())


@pytest.mark.parametrize("num_facts", [0, 1, 10])
def test_exercise_is_what_the_pipeline_gives_to_the_trainer(
    learner: Learner, settings: Settings, num_facts: int
) -> None:
    new, ledger = FACTS[0], FACTS[1 : 1 + num_facts]
    given: dict[str, Any] = {}

    def train(initial: Any, candidates: Any, **rest: Any) -> None:
        given.update(rest, candidates=candidates)

    watched = replace(learner, trainer=cast(Any, SimpleNamespace(train=train)))
    pipeline = Pipeline(cast(Any, None), settings, (), cast(Any, None), watched)
    lesson, material = _lesson(new, ledger), _material(new)
    pipeline._train(lesson, material, {}, cast(Any, None))
    exercise = exercise_of(learner, settings, new, ledger, strategies=STRATEGIES)

    assert exercise.plan == given["plan"]
    assert list(exercise.candidates) == given["candidates"]
    assert list(exercise.rehearsal) == given["rehearsal"]
    assert list(exercise.anchors) == given["anchors"]


def test_five_candidates_are_different_notes_or_rates(learner: Learner, settings: Settings) -> None:
    exercise = exercise_of(learner, settings, FACTS[0], FACTS[1:11], strategies=FIVE_STRATEGIES)
    assert len({(tuple(each.notes), each.learning_rate) for each in exercise.candidates}) == 5
    assert all(each.notes for each in exercise.candidates)


def test_synthetic_facts_are_many_different_and_teachable() -> None:
    assert len({fact.fact_id for fact in FACTS}) == len(FACTS) > 200
    assert all(choose_probes(fact) and notes_of(fact, STRATEGIES[0], probes=choose_probes(fact)) for fact in FACTS)
    assert [fact.fact_id for fact in FACTS] == [fact.fact_id for fact in studied_facts()]
