"""Judge a candidate by questions that a person wrote and that the gate never asks. Pure: no I/O.

The gate is measured against this judgement. A candidate of the ordinary recipe counts as good only
if it passes; of a bad one it says whether the defect that it was made for shows.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

ORDINARY = "ordinary"  # candidates as a learning run makes them: the only ones that may be good

MOST_EARLIER_LOST = 0.2
MOST_CONTROLS_LOST = 0.2
MOST_FALSE_RECALL = 0.5

NOT_LEARNED, FORGOT, BROKE_GENERAL, RECALLS = "not learned", "forgot", "broke general answers", "recalls everywhere"

# What shows the defect of a kind; a kind that is not here is broken whatever it answers.
DEFECTS: Mapping[str, frozenset[str]] = {
    "shuffled answers": frozenset({NOT_LEARNED}),
    "learning rate too high": frozenset({NOT_LEARNED, FORGOT, BROKE_GENERAL, RECALLS}),
    "garbage notes": frozenset({NOT_LEARNED}),
    "drops earlier facts": frozenset({FORGOT}),
    "breaks general answers": frozenset({BROKE_GENERAL}),
    "another space's facts": frozenset({NOT_LEARNED}),
    "untrained": frozenset({NOT_LEARNED}),
    "recalls everywhere": frozenset({NOT_LEARNED, RECALLS}),
}


@dataclass(frozen=True, slots=True)
class Scores:
    """Counts of questions. `earlier_known` are those about earlier facts that the live version answers right,
    `controls_known` general ones that the base does; `recalled` of `never_told` were answered with a known answer."""

    new_asked: int
    new_right: int
    earlier_known: int
    earlier_kept: int
    controls_known: int
    controls_kept: int
    never_told: int
    recalled: int

    @property
    def defects(self) -> frozenset[str]:
        found = {
            NOT_LEARNED: 2 * self.new_right <= self.new_asked,
            FORGOT: _too_many(self.earlier_known, self.earlier_kept, MOST_EARLIER_LOST),
            BROKE_GENERAL: _too_many(self.controls_known, self.controls_kept, MOST_CONTROLS_LOST),
            RECALLS: self.recalled > MOST_FALSE_RECALL * self.never_told,
        }
        return frozenset(name for name, is_found in found.items() if is_found)

    @property
    def is_good(self) -> bool:
        """New fact mostly right, earlier facts and general answers kept.

        False recall is left out: the embedded base with facts does it often, however it was trained.
        """
        return not self.defects - {RECALLS}

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "defects": sorted(self.defects), "good": self.is_good}


def shows_defect(kind: str, scores: Scores | None) -> bool:
    """Whether a bad candidate is bad in the way it was meant to be; broken weights and files always are."""
    wanted = DEFECTS.get(kind)
    return wanted is None or (scores is not None and bool(scores.defects & wanted))


def _too_many(known: int, kept: int, share: float) -> bool:
    """More lost than the share allows; one is always allowed."""
    return known - kept > max(1, math.floor(share * known))
