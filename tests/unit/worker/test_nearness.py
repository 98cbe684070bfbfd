"""A fact is near to a new one if what surely asks for that is as near to its questions as to the new one's own."""

import numpy as np

from scope.decision import Scope, digests_of
from scope.encoder import open_encoder
from worker.nearness import nearness
from worker.supersession import NewFact

HOME = ["Where do I live?", "Which city do I live in?", "In which town is my home?", "What city is my home in?"]
CAT = ["What is my cat called?", "What is the name of my cat?", "Who is my cat?", "How is my cat named?"]
MOVED = NewFact(
    "I moved to Bergen.", ["Where do I live now?", "Which city did I move to?", "To where?"], ["I moved to what?"]
)


def test_fact_that_is_asked_for_alike_is_nearer() -> None:
    near = nearness(open_encoder(), MOVED, {"home": HOME, "cat": CAT, "empty": []}, None)
    assert near.keys() == {"home", "cat"}
    assert near["home"] > near["cat"] + 0.1


def test_vectors_that_the_live_scope_holds_are_taken_from_it() -> None:
    sentences = open_encoder()
    swapped = Scope.of(sentences.encode(CAT), np.zeros((0, sentences.width), np.float32), digests_N=digests_of(HOME))
    near = nearness(sentences, MOVED, {"home": HOME}, swapped)
    assert near["home"] == nearness(sentences, MOVED, {"cat": CAT}, None)["cat"]


def test_without_questions_nothing_is_near() -> None:
    assert nearness(open_encoder(), NewFact("x", [], []), {"home": HOME}, None) == {}
