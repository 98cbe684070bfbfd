"""Decide which earlier facts a new statement replaces: the latest truth wins."""

from collections.abc import Mapping

import numpy as np

from scope.encoder import SentenceEncoder
from worker.supersession.judge import Judge

# Of 148 changes told to a ledger of 272 facts, the fact that changed was among so many nearest ones in all.
MOST_JUDGED = 16
MIN_PROBABILITY = 0.5
# A change is mostly of one fact. At even odds 26 of 148 changes, in ledgers of 60, took others with it, half of which
# were true still; at these 17.
MIN_PROBABILITY_BESIDE = 0.9


def superseded_by(statement: str, earlier: Mapping[str, str], *, sentences: SentenceEncoder, judge: Judge) -> set[str]:
    """Ids of earlier facts, statements by id, that `statement` makes untrue.

    Judged are those that say the most similar things, so that the cost does not grow with the ledger.
    """
    nearest = _nearest(statement, earlier, sentences)
    judged = dict(zip(nearest, judge.replaced(statement, [earlier[fact_id] for fact_id in nearest]), strict=True))
    most_probable = max(judged, key=lambda fact_id: judged[fact_id], default=None)
    return {
        fact_id
        for fact_id, probability in judged.items()
        if probability > (MIN_PROBABILITY if fact_id == most_probable else MIN_PROBABILITY_BESIDE)
    }


def _nearest(statement: str, earlier: Mapping[str, str], sentences: SentenceEncoder) -> list[str]:
    """Ids of at most `MOST_JUDGED` earlier facts, the most similar first."""
    said_FD, new_D = sentences.encode(list(earlier.values())), sentences.encode([statement])[0]
    ids = list(earlier)
    return [ids[at] for at in np.argsort(-(said_FD @ new_D), kind="stable")[:MOST_JUDGED]]
