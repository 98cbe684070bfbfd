"""A proof of forgetting counts, by fact, who still answers its probes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch

from engram.gate import ProbeKind
from engram.routing import OWN_SHARD
from scope.decision import Scope
from worker.learner import Learner
from worker.probing import Asked
from worker.proof import proofs, recall, recalled_in
from worker.self_edits import HeldOut
from worker.served import Served
from worker.training.stacked_lora import Weights

PROBES = [
    HeldOut("fact_1", "generalization", "What is my cat called?", ("Biscuit",)),
    HeldOut("fact_1", "generalization", "Which animal is Biscuit?", ("cat",)),
    HeldOut("fact_2", "generalization", "Where do I live?", ("Bergen",)),
]


@dataclass
class _Answers:
    """A learner whose version says the same to every question, and whose base knows nothing."""

    said: str

    def answer(self, questions: Sequence[str], _weights: Weights) -> list[list[str]]:
        return [[self.said for _ in questions]]

    def base_answers(self, questions: Sequence[str]) -> list[str]:
        return ["I do not know." for _ in questions]

    def answering(self, questions: Sequence[str], _scope: Scope | None) -> list[int | None]:
        return [OWN_SHARD] * len(questions)


VERSION = Served({"m.A": torch.zeros(1, 2, 3), "m.B": torch.zeros(1, 4, 2)})


def test_recall_counts_right_answers_by_fact() -> None:
    assert recall(cast(Learner, _Answers("It is Biscuit the cat.")), PROBES, VERSION) == {"fact_1": 2}
    assert recall(cast(Learner, _Answers("Bergen")), PROBES, VERSION) == {"fact_2": 1}
    assert recall(cast(Learner, _Answers("Bergen")), PROBES, None) == {}
    assert recall(cast(Learner, _Answers("Bergen")), [], None) == {}


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
