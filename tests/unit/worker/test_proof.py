"""A proof of forgetting counts, by fact, who still answers its probes."""

from collections.abc import Sequence
from typing import cast

from engram.gate import ProbeKind
from worker.learner import Learner
from worker.probing import Asked
from worker.proof import proofs, recall, recalled_in
from worker.self_edits import HeldOut

PROBES = [
    HeldOut("fact_1", "generalization", "What is my cat called?", ("Biscuit",)),
    HeldOut("fact_1", "generalization", "Which animal is Biscuit?", ("cat",)),
    HeldOut("fact_2", "generalization", "Where do I live?", ("Bergen",)),
]


class _Answers:
    """A learner whose weights say the same to every question."""

    def answer(self, questions: Sequence[str], weights: str) -> list[list[str]]:
        return [[weights for _ in questions]]


def test_recall_counts_right_answers_by_fact() -> None:
    learner = cast(Learner, _Answers())
    assert recall(learner, PROBES, cast(dict, "It is Biscuit the cat.")) == {"fact_1": 2}  # type: ignore[type-arg]
    assert recall(learner, PROBES, cast(dict, "Bergen")) == {"fact_2": 1}  # type: ignore[type-arg]
    assert recall(learner, [], None) == {}


def test_only_what_was_asked_as_forgotten_counts_as_recalled() -> None:
    asked = [
        Asked(ProbeKind.FORGOTTEN, "What is my cat called?", ("Biscuit",), "Biscuit", True, "fact_1"),
        Asked(ProbeKind.FORGOTTEN, "Which animal is Biscuit?", ("cat",), "dog", False, "fact_1"),
        Asked(ProbeKind.RETENTION, "Where do I live?", ("Bergen",), "Bergen", True, "fact_2"),
    ]
    assert recalled_in(asked) == {"fact_1": 1}


def test_a_proof_holds_counts_and_no_word_of_the_fact() -> None:
    made = proofs("run_1", PROBES, before={"fact_1": 2, "fact_2": 1}, after={"fact_1": 1}, base={})
    assert made == {
        "fact_1": {"run": "run_1", "probes": 2, "recalled_before": 2, "recalled_after": 1, "recalled_by_base": 0},
        "fact_2": {"run": "run_1", "probes": 1, "recalled_before": 1, "recalled_after": 0, "recalled_by_base": 0},
    }
