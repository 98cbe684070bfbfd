"""Make the figures of a method from its records, and tables from figures. Pure: no model, no I/O."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from engram.grading import is_right, recalls
from evals.stream import metrics
from evals.stream.datasets import Item, Kind
from evals.stream.metrics import Matrix, mean, share_right
from evals.stream.records import Ended, Told
from evals.stream.reference import BaseAnswers, Questions, known_controls

Json = dict[str, Any]

LEAK = "not measured: it needs a second space, and a method in this process has one"


def figures(
    items: Sequence[Item], told: Sequence[Told], ended: Ended, questions: Questions, base: BaseAnswers, *, seed: int
) -> Json:
    """A method's figures. Shares are 0 to 1, `kl` in nats a token, null where nothing was asked.

    `matrix[k][i]`: recall of fact i right after fact k was told; null where it was not asked. `intervals`:
    95 % over facts. `rephrased` and `unrelated` only where the set has such questions.
    """
    matrix = recall_matrix(items, told)
    immediate = [_certain(matrix[fact][fact]) for fact in range(len(items))]
    final = [_certain(recall) for recall in matrix[-1]]
    known = known_controls(questions, base)
    lost = [i for i in known if not is_right(ended.controls[i], questions.controls[i][1])]
    recalled = false_recalls(items, ended, base)
    return {
        "immediate": mean(immediate),
        "final": mean(final),
        "kept": metrics.kept(immediate, final),
        "control": 1 - len(lost) / len(known) if known else None,
        "kl": ended.kl if math.isfinite(ended.kl) else None,
        "false_recall": len(recalled) / len(questions.never_told) if questions.never_told else None,
        "leak": None,
        "seconds_per_fact": mean([one.seconds for one in told]),
        **_edits(items, told, ended, base),
        "matrix": matrix,
        "intervals": {
            "immediate": metrics.bootstrap(immediate, seed=seed),
            "final": metrics.bootstrap(final, seed=seed),
        },
        "details": {
            "leak": LEAK,
            "facts": [_fact(item, one, told[-1]) for item, one in zip(items, told, strict=True)],
            "controls_known": len(known),
            "controls_lost": [f"{questions.controls[i][0]} -> {ended.controls[i]}" for i in lost],
            "false_recalls": [f"{questions.never_told[i]} -> {ended.never_told[i]}" for i in recalled],
        },
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


def false_recalls(items: Sequence[Item], ended: Ended, base: BaseAnswers) -> list[int]:
    """Which never-told questions were answered with something of the stream."""
    told = metrics.golds(items)
    pairs = enumerate(zip(ended.never_told, base.never_told, strict=True))
    return [i for i, (answer, base_answer) in pairs if recalls(answer, base_answer, told)]


def markdown(report: Mapping[str, Any]) -> str:
    """The figures of all methods as a table, with a line that says what was run."""
    header, *rows = table(report)
    lines = [
        f"`engram eval stream --dataset {report['dataset']} --n {report['n']} --seed {report['seed']}`, "
        f"{report['base']}: 95 % intervals over facts; leak not measured.",
        "",
        *(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows)),
    ]
    return "\n".join(lines) + "\n"


def table(report: Mapping[str, Any]) -> list[list[str]]:
    """A header, then a row for each method; only figures that some method has."""
    columns = [column for column in _COLUMNS if any(column[0] in one for one in report["methods"].values())]
    rows = [[name, *(cell(one, key, kind) for key, _, kind in columns)] for name, one in report["methods"].items()]
    return [["method", *(title for _, title, _ in columns)], *rows]


def cell(one: Json, key: str, kind: str) -> str:
    """One figure as text: a share with its interval, nats or seconds."""
    value = one.get(key)
    if value is None:
        return "–"
    if kind == "share":
        interval = one["intervals"].get(key)
        return f"{value:.2f} ({interval[0]:.2f}–{interval[1]:.2f})" if interval else f"{value:.2f}"
    return f"{value:.3f}" if kind == "nats" else f"{value:.1f}"


_COLUMNS = (
    ("immediate", "immediate", "share"),
    ("final", "final", "share"),
    ("kept", "kept", "share"),
    ("rephrased", "rephrased", "share"),
    ("unrelated", "unrelated unchanged", "share"),
    ("control", "controls kept", "share"),
    ("kl", "KL, nats a token", "nats"),
    ("false_recall", "false recall", "share"),
    ("seconds_per_fact", "seconds a fact", "seconds"),
)


def _edits(items: Sequence[Item], told: Sequence[Told], ended: Ended, base: BaseAnswers) -> Json:
    """What sets of edits ask besides: rephrased questions after the last fact, and unrelated ones."""
    found: Json = {}
    last = told[-1].answers
    rephrased = [share_right(item.graded, last[fact], Kind.REPHRASED) for fact, item in enumerate(items)]
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
