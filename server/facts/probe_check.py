"""Decide whether given probes fit their statement. Pure: no I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from engram.grading import normalise
from engram.similarity import is_near_copy


@dataclass(frozen=True, slots=True)
class GivenProbe:
    question: str
    answer: str


def find_contradiction(statement: str, probes: Sequence[GivenProbe]) -> str | None:
    """Why the probes cannot examine the statement, or None.

    An answer must be made of the statement's words: a fact that was taught as stated could
    otherwise never pass. Two probes that ask nearly the same must want the same.
    """
    stated = set(normalise(statement))
    for probe in probes:
        if not set(normalise(probe.answer)) <= stated:
            return f"the probe {probe.question!r} wants {probe.answer!r}, which the statement does not say"
    for first, second in combinations(probes, 2):
        if is_near_copy(first.question, second.question) and normalise(first.answer) != normalise(second.answer):
            return f"the probes want both {first.answer!r} and {second.answer!r} for {second.question!r}"
    return None
