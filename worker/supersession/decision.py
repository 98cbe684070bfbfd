"""Decide which earlier facts a new statement replaces: the latest truth wins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

import numpy as np

from engram.grading import normalise
from scope.encoder import SentenceEncoder
from worker.supersession.judge import Judge

# Of 148 changes told to a ledger of 272 facts, the fact that changed was among so many nearest ones in all.
MOST_JUDGED = 16
_MOST_CHANGED_WORDS = 4
_FEWEST_SAME_WORDS = 2


@dataclass(frozen=True, slots=True)
class Bounds:
    """How probable it must be that a fact is untrue now: of the most probable one, of others beside it, of one that is
    the same sentence with another value.

    A change is mostly of one fact. The same sentence with another value is a change more often than the judge, which
    reads names it never met, finds it. Chosen by `engram supersession examine`, figures in docs/experiments.md.
    """

    most_probable: float = 0.4
    beside: float = 0.9
    same_sentence: float = 0.05


def superseded_by(statement: str, earlier: Mapping[str, str], *, sentences: SentenceEncoder, judge: Judge) -> set[str]:
    """Ids of earlier facts, statements by id, that `statement` makes untrue."""
    return replaced(statement, earlier, judged(statement, earlier, sentences=sentences, judge=judge), Bounds())


def judged(statement: str, earlier: Mapping[str, str], *, sentences: SentenceEncoder, judge: Judge) -> dict[str, float]:
    """How probable it is that `statement` makes each of the facts untrue that say the most similar things, by id.

    The cost does not grow with the ledger. What says the same words again makes nothing untrue, and is left out.
    """
    words = normalise(statement)
    others = {fact_id: old for fact_id, old in earlier.items() if normalise(old) != words}
    nearest = _nearest(statement, others, sentences)
    return dict(zip(nearest, judge.replaced(statement, [earlier[fact_id] for fact_id in nearest]), strict=True))


def replaced(
    statement: str, earlier: Mapping[str, str], probabilities: Mapping[str, float], bounds: Bounds
) -> set[str]:
    """Ids of those that are probable enough."""
    most_probable = max(probabilities, key=lambda fact_id: probabilities[fact_id], default=None)

    def bound(fact_id: str) -> float:
        if is_same_sentence(earlier[fact_id], statement):
            return bounds.same_sentence
        return bounds.most_probable if fact_id == most_probable else bounds.beside

    return {fact_id for fact_id, probability in probabilities.items() if probability > bound(fact_id)}


def is_same_sentence(old: str, new: str) -> bool:
    """Whether two statements differ in one place alone, in a few words: *Ada, the midfielder* and *Ada, the keeper*."""
    first, second = normalise(old), normalise(new)
    before = _shared(first, second)
    after = _shared(first[before:][::-1], second[before:][::-1])
    changed = [len(words) - before - after for words in (first, second)]
    return before + after >= _FEWEST_SAME_WORDS and min(changed) > 0 and max(changed) <= _MOST_CHANGED_WORDS


def _shared(first: Sequence[str], second: Sequence[str]) -> int:
    """How many words both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _nearest(statement: str, earlier: Mapping[str, str], sentences: SentenceEncoder) -> list[str]:
    """Ids of at most `MOST_JUDGED` earlier facts, the most similar first."""
    said_FD, new_D = sentences.encode(list(earlier.values())), sentences.encode([statement])[0]
    ids = list(earlier)
    return [ids[at] for at in np.argsort(-(said_FD @ new_D), kind="stable")[:MOST_JUDGED]]
