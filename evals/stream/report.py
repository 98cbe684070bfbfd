"""Make the figures of a method from its records, and columns for a table of them. Pure: no model, no I/O."""

import math
from collections.abc import Sequence
from typing import Any

from engram.grading import is_right, recalls
from evals.stream import metrics
from evals.stream.datasets import Item, Kind
from evals.stream.metrics import Matrix, mean, share_right
from evals.stream.records import Besides, Told
from evals.stream.reference import BaseAnswers, Questions, known_controls
from evals.stream.tables import HELD, Column, Unit

Json = dict[str, Any]

LEAK = "not measured: a stream has one space; `engram eval leak` has three"


def figures(
    items: Sequence[Item], told: Sequence[Told], ended: Besides, questions: Questions, base: BaseAnswers, *, seed: int
) -> Json:
    """A method's figures. Shares are 0 to 1, `kl` in nats a token, null where nothing was asked.

    `matrix[k][i]`: recall of fact i right after fact k was told; null where it was not asked. `intervals`:
    95 % over facts. `rephrased` and `unrelated` only where the set has such questions.
    """
    matrix = recall_matrix(items, told)
    immediate = [_certain(matrix[fact][fact]) for fact in range(len(items))]
    final = [_certain(recall) for recall in matrix[-1]]
    return {
        "immediate": mean(immediate),
        "final": mean(final),
        "kept": metrics.kept(immediate, final),
        **held(items, ended, questions, base),
        "leak": None,
        "seconds_per_fact": mean([one.seconds for one in told]),
        **edits([(item, told[-1].answers[fact]) for fact, item in enumerate(items)], ended, base),
        "matrix": matrix,
        "intervals": {
            "immediate": metrics.bootstrap(immediate, seed=seed),
            "final": metrics.bootstrap(final, seed=seed),
        },
        "details": {
            "leak": LEAK,
            "facts": [_fact(item, one, told[-1]) for item, one in zip(items, told, strict=True)],
            **held_details(items, ended, questions, base),
        },
    }


def held(items: Sequence[Item], said: Besides, questions: Questions, base: BaseAnswers) -> Json:
    """Shares of controls kept, of those the base knows, and of false recall of `items`, all told so far; the KL."""
    known, asked = known_controls(questions, base), questions.never_told
    return {
        "control": 1 - len(_lost(said, questions, base)) / len(known) if known else None,
        "kl": said.kl if math.isfinite(said.kl) else None,
        "false_recall": len(_false_recalls(items, said, base)) / len(asked) if asked else None,
    }


def held_details(items: Sequence[Item], said: Besides, questions: Questions, base: BaseAnswers) -> Json:
    """Every question and answer that counts against a method in `held`."""
    lost, recalled = _lost(said, questions, base), _false_recalls(items, said, base)
    return {
        "controls_known": len(known_controls(questions, base)),
        "controls_lost": [f"{questions.controls[i][0]} -> {said.controls[i]}" for i in lost],
        "false_recalls": [f"{questions.never_told[i]} -> {said.never_told[i]}" for i in recalled],
    }


def recall_matrix(items: Sequence[Item], told: Sequence[Told]) -> Matrix:
    """[facts told - 1][fact]"""
    return [
        [
            share_right(item.graded, one.answers[fact], Kind.OWN) if fact in one.answers else None
            for fact, item in enumerate(items)
        ]
        for one in told
    ]


def _lost(said: Besides, questions: Questions, base: BaseAnswers) -> list[int]:
    """Which controls the base answers right and the method does not."""
    return [i for i in known_controls(questions, base) if not is_right(said.controls[i], questions.controls[i][1])]


def _false_recalls(items: Sequence[Item], said: Besides, base: BaseAnswers) -> list[int]:
    """Which never-told questions were answered with something that was told."""
    told = metrics.golds(items)
    pairs = enumerate(zip(said.never_told, base.never_told, strict=True))
    return [i for i, (answer, base_answer) in pairs if recalls(answer, base_answer, told)]


COLUMNS = (
    Column("immediate", "immediate"),
    Column("final", "final"),
    Column("kept", "kept"),
    Column("rephrased", "rephrased"),
    Column("unrelated", "unrelated unchanged"),
    *HELD,
    Column("seconds_per_fact", "seconds a fact", Unit.SECONDS),
)


def edits(last: Sequence[tuple[Item, Sequence[str]]], ended: Besides, base: BaseAnswers) -> Json:
    """What sets of edits ask besides: rephrased questions after the last fact, and unrelated ones.

    `last`: each item with the answers to its graded probes then.
    """
    found: Json = {}
    rephrased = [share_right(item.graded, answers, Kind.REPHRASED) for item, answers in last]
    if asked := [share for share in rephrased if share is not None]:
        found["rephrased"] = mean(asked)
    if base.unrelated:
        pairs = zip(ended.unrelated, base.unrelated, strict=True)
        found["unrelated"] = mean([float(metrics.is_unchanged(answer, before)) for answer, before in pairs])
    return found


def _fact(item: Item, one: Told, last: Told) -> Json:
    answers = zip(item.graded, one.answers[one.fact], last.answers[one.fact], strict=True)
    return {
        "statement": item.statement,
        "outcome": one.outcome,
        "seconds": one.seconds,
        "probes": [
            {
                "question": probe.question,
                "kind": probe.kind.value,
                "gold": list(probe.answers),
                "immediate": then,
                "immediate_right": is_right(then, probe.answers),
                "final": now,
                "final_right": is_right(now, probe.answers),
            }
            for probe, then, now in answers
        ],
    }


def _certain(recall: float | None) -> float:
    assert recall is not None, "a fact is asked right after it was told, and all are after the last"
    return recall
