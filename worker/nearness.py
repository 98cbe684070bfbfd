"""How near a new fact is to earlier ones, by the vectors of what asks for them."""

from collections.abc import Mapping, Sequence

import numpy as np

from scope.decision import Scope, near
from scope.encoder import SentenceEncoder
from worker.supersession import NewFact


def nearness(
    sentences: SentenceEncoder, new: NewFact, taught: Mapping[str, Sequence[str]], live: Scope | None
) -> dict[str, float]:
    """How much nearer what surely asks for the new fact is to the questions that each earlier fact, by id, was `taught`
    with than to the new fact's own others, in the mean; as near as a scope has it. About 0 where both are asked alike.

    What the scope `live` holds of the earlier questions is not read again.
    """
    asked = list(dict.fromkeys(new.surely))
    others = [question for question in dict.fromkeys(new.asked) if question not in set(asked)]
    if not asked or not others:
        return {}
    prompts = list(dict.fromkeys(question for own in taught.values() for question in own))
    known = live.vectors_of(prompts) if live else {}
    vectors = dict(zip(prompts, sentences.encode(prompts, known=known), strict=True))
    asked_QD, others_KD = sentences.encode(asked), sentences.encode(others)
    own_Q = near(asked_QD, others_KD)
    return {
        fact_id: float((near(asked_QD, np.stack([vectors[question] for question in own])) - own_Q).mean())
        for fact_id, own in taught.items()
        if own
    }
