"""What a judge is examined with: single pairs, and ledgers to which bounds are put."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from scope.decision import Vectors
from worker.supersession.decision import MOST_JUDGED, Bounds
from worker.supersession.examine import OWN, Counts, Ledger, area_under_curve, count, tell
from worker.supersession.train import Example

CHANGE = Example("I live in Oslo, near the river.", "We signed the lease in Bergen.", replaces=True)
LOOK_ALIKE = Example("I live in Oslo, near the river.", "My brother has a flat there.", replaces=False)
BOUNDS = Bounds(most_probable=0.4, beside=0.9, same_sentence=0.05)


class Alike:
    """All texts say the same."""

    def encode(self, texts: list[str]) -> Vectors:
        return np.ones((len(texts), 1))


class Sure:
    """Finds what holds *Oslo* replaced."""

    def replaced(self, statement: str, earlier: list[str]) -> list[float]:
        return [0.8 if "Oslo" in text else 0.1 for text in earlier]


@pytest.mark.parametrize(("probabilities", "area"), [((0.9, 0.1), 1.0), ((0.1, 0.9), 0.0), ((0.5, 0.5), 0.5)])
def test_area_under_the_curve_is_how_often_a_change_stands_before_a_look_alike(
    probabilities: tuple[float, float], area: float
) -> None:
    assert area_under_curve(probabilities, [CHANGE, LOOK_ALIKE]) == area


def test_ledgers_hold_the_own_statement_and_so_many_others_drawn_by_the_seed() -> None:
    examples = [CHANGE, *(Example(f"old {n} of that", f"new {n}", replaces=False) for n in range(30))]
    sentences: Any = Alike()
    judge: Any = Sure()
    told = [list(tell(examples, others=20, seed=seed, sentences=sentences, judge=judge)) for seed in (0, 0, 1)]
    first = told[0][0]
    assert first.earlier[OWN] == CHANGE.old
    assert len(first.earlier) == 21
    assert CHANGE.old not in [old for fact_id, old in first.earlier.items() if fact_id != OWN]
    assert len(first.probabilities) == MOST_JUDGED
    assert first.probabilities[OWN] == 0.8
    drawn = [[one.earlier for one in ledgers] for ledgers in told]
    assert drawn[0] == drawn[1] != drawn[2]


def test_what_is_in_conflict_with_the_new_statement_is_not_told_beside_it() -> None:
    examples = [CHANGE, Example("I live in Oslo still.", "new", replaces=False)]
    sentences: Any = Alike()
    judge: Any = Sure()
    conflicts = {("I live in Oslo still.", CHANGE.new)}
    first, _ = tell(examples, others=20, seed=0, sentences=sentences, judge=judge, conflicts=conflicts)
    assert list(first.earlier) == [OWN]


def test_what_bounds_would_replace_is_counted() -> None:
    found = Ledger(CHANGE, {OWN: CHANGE.old, "1": "My cat is grey."}, {OWN: 0.8, "1": 0.3})
    others = replace(found, probabilities={OWN: 0.8, "1": 0.95})
    missed = replace(found, probabilities={OWN: 0.3, "1": 0.1})
    wrong = Ledger(LOOK_ALIKE, {OWN: LOOK_ALIKE.old}, {OWN: 0.6})
    assert count([found, others, missed, wrong], BOUNDS) == Counts(found=1, changes=3, others=1, wrong=1, look_alikes=1)
    stricter = replace(BOUNDS, most_probable=0.7)
    assert count([found, wrong], stricter) == Counts(found=1, changes=1, others=0, wrong=0, look_alikes=1)
