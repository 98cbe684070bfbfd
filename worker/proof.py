"""Prove that a rebuild forgot: the forgotten probes, put to what held them, to what serves next, and to the base."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from engram.gate import ProbeKind
from engram.grading import is_right
from worker.learner import Learner
from worker.probing import Asked
from worker.self_edits import HeldOut
from worker.served import Served, answer_as_served

Recalled = Mapping[str, int]  # probes answered right, by fact id


def recall(learner: Learner, probes: Sequence[HeldOut], version: Served | None) -> Recalled:
    """Ask one version as it is served, or the base with None, freely and greedily."""
    questions = [probe.question for probe in probes]
    answers = answer_as_served(learner, questions, version)[0] if version else learner.base_answers(questions)
    right = zip(probes, answers, strict=True)
    return Counter(probe.fact_id for probe, answer in right if is_right(answer, probe.answers))


def recalled_in(asked: Sequence[Asked]) -> Recalled:
    """The same of a candidate that was examined."""
    return Counter(item.fact_id for item in asked if item.kind == ProbeKind.FORGOTTEN and item.right and item.fact_id)


def proofs(
    run_id: str, probes: Sequence[HeldOut], *, before: Recalled, after: Recalled, base: Recalled
) -> dict[str, dict[str, Any]]:
    """What is kept with each forgotten fact (`Fact.forgetting_proof`), by its id. It holds no word of it."""
    return {
        fact: {
            "run": run_id,
            "probes": count,
            "recalled_before": before.get(fact, 0),
            "recalled_after": after.get(fact, 0),
            "recalled_by_base": base.get(fact, 0),
        }
        for fact, count in Counter(probe.fact_id for probe in probes).items()
    }
