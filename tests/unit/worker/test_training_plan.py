"""How long a run trains: longer on many notes, and where a fact failed before."""

from dataclasses import fields
from typing import Any

import pytest

from engram.lifecycle import RunKind
from engram.settings import Settings
from worker.curriculum import Lesson
from worker.learner import Anchors
from worker.teaching import STRENGTHS, anchor_groups, strengths, training_plan


@pytest.mark.parametrize("num_notes", [1, 8, 20, 60, 400])
def test_every_note_is_seen_some_times(settings: Settings, num_notes: int) -> None:
    plan = training_plan(settings, num_notes=num_notes, again=False, seed=1)
    assert plan.steps * min(plan.notes_per_step, num_notes) >= 3 * num_notes
    assert plan.steps >= settings.training_steps


def test_three_facts_take_less_than_three_times_as_long_as_one(settings: Settings) -> None:
    one, three = (training_plan(settings, num_notes=count, again=False, seed=1).steps for count in (20, 60))
    assert one <= three < 3 * one


def test_fact_that_failed_before_is_trained_longer_and_with_other_draws(settings: Settings) -> None:
    first = training_plan(settings, num_notes=20, again=False, seed=1)
    second = training_plan(settings, num_notes=20, again=True, seed=2)
    assert second.steps > first.steps
    assert second.seed != first.seed


def test_fact_that_failed_before_is_held_more_to_what_was_never_told(settings: Settings) -> None:
    none = Anchors(general=[], personal=[])
    (_, general), (_, personal) = anchor_groups(settings, none)
    (_, general_again), (_, personal_again) = anchor_groups(settings, none, again=True)
    assert general_again == general
    assert personal_again > personal


@pytest.mark.parametrize(
    ("kind", "start", "tried"),
    [
        (RunKind.LEARN, 0, STRENGTHS),
        (RunKind.LEARN, 3, (1.0,)),
        (RunKind.REBUILD, 0, (1.0,)),
        (RunKind.REBUILD, 3, (1.0,)),
        (RunKind.CONSOLIDATE, 0, (1.0,)),
    ],
)
def test_less_is_served_only_of_weights_that_hold_no_earlier_fact(
    kind: RunKind, start: int, tried: tuple[float, ...]
) -> None:
    unused: dict[str, Any] = dict.fromkeys(one.name for one in fields(Lesson))
    assert strengths(Lesson(**{**unused, "kind": kind, "start": start})) == tried
