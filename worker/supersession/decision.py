"""Decide which earlier facts a new statement replaces: the latest truth wins."""

from collections.abc import Mapping, Sequence
from itertools import takewhile

import numpy as np

from engram.grading import normalise
from scope.encoder import SentenceEncoder
from worker.supersession.judge import Judge

# Of 148 changes told to a ledger of 272 facts, the fact that changed was among so many nearest ones in all.
MOST_JUDGED = 16
# Of 248 held-out changes told to ledgers of 60 others 213 are found, at even odds 206; of 250 statements that replace
# nothing 11 replace something, either way.
MIN_PROBABILITY = 0.4
# A change is mostly of one fact. At 0.7 25 of the 248 took others with it, some of which were true still; at these 20.
MIN_PROBABILITY_BESIDE = 0.9
# The same sentence with another value is a change more often than the judge, which reads names it never met, finds it:
# of 33 held-out ones all have more, of 42 look-alikes one.
MIN_PROBABILITY_SAME_SENTENCE = 0.05
_MOST_CHANGED_WORDS = 4
_FEWEST_SAME_WORDS = 2


def superseded_by(statement: str, earlier: Mapping[str, str], *, sentences: SentenceEncoder, judge: Judge) -> set[str]:
    """Ids of earlier facts, statements by id, that `statement` makes untrue.

    Judged are those that say the most similar things, so that the cost does not grow with the ledger. What says the
    same words again makes nothing untrue.
    """
    words = normalise(statement)
    others = {fact_id: old for fact_id, old in earlier.items() if normalise(old) != words}
    nearest = _nearest(statement, others, sentences)
    judged = dict(zip(nearest, judge.replaced(statement, [earlier[fact_id] for fact_id in nearest]), strict=True))
    most_probable = max(judged, key=lambda fact_id: judged[fact_id], default=None)

    def bound(fact_id: str) -> float:
        if is_same_sentence(earlier[fact_id], statement):
            return MIN_PROBABILITY_SAME_SENTENCE
        return MIN_PROBABILITY if fact_id == most_probable else MIN_PROBABILITY_BESIDE

    return {fact_id for fact_id, probability in judged.items() if probability > bound(fact_id)}


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
