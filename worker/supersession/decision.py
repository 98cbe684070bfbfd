"""Decide which earlier facts a new statement replaces: the latest truth wins."""

from collections.abc import Mapping

import numpy as np

from scope.encoder import SentenceEncoder
from worker.supersession.judge import Judge

# Of 148 changes told to a ledger of 272 facts, the fact that changed was among so many nearest ones in all.
MOST_JUDGED = 16
MIN_PROBABILITY = 0.5


def superseded_by(statement: str, earlier: Mapping[str, str], *, sentences: SentenceEncoder, judge: Judge) -> set[str]:
    """Ids of earlier facts, statements by id, that `statement` makes untrue.

    Judged are those that say the most similar things, so that the cost does not grow with the ledger.
    """
    nearest = _nearest(statement, earlier, sentences)
    probabilities = judge.replaced(statement, [earlier[fact_id] for fact_id in nearest])
    return {fact_id for fact_id, p in zip(nearest, probabilities, strict=True) if p > MIN_PROBABILITY}


def _nearest(statement: str, earlier: Mapping[str, str], sentences: SentenceEncoder) -> list[str]:
    """Ids of at most `MOST_JUDGED` earlier facts, the most similar first."""
    said_FD, new_D = sentences.encode(list(earlier.values())), sentences.encode([statement])[0]
    ids = list(earlier)
    return [ids[at] for at in np.argsort(-(said_FD @ new_D), kind="stable")[:MOST_JUDGED]]
