"""Count what the gate let in and kept out, kind by kind. Pure: no I/O."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from evals.gate.verdict import ORDINARY, Scores, shows_defect

Json = dict[str, Any]

GOOD, NOT_GOOD = "good", "not good"


@dataclass(frozen=True, slots=True)
class Result:
    """One candidate after the gate. `failed` names the checks that kept it out, `scores` are the independent ones.

    `strength`: how much of what was trained was judged. `checks` are the gate's reasons, or what was wrong with the
    files.
    """

    kind: str
    variant: str
    lesson: int
    statement: str
    admitted: bool
    strength: float
    failed: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()
    scores: Scores | None = None
    measured: Json = field(default_factory=dict)

    @property
    def row(self) -> str:
        """Where it is counted: its kind, or for the ordinary recipe whether the independent judgement found it good."""
        if self.kind != ORDINARY:
            return self.kind
        return GOOD if self.scores is not None and self.scores.is_good else NOT_GOOD

    @property
    def is_bad(self) -> bool:
        return self.kind != ORDINARY

    @property
    def shows_defect(self) -> bool:
        return self.is_bad and shows_defect(self.kind, self.scores)


def report(results: Sequence[Result], *, kinds: Sequence[str]) -> Json:
    """The figures as counts of candidates, and every candidate behind them.

    `false_accept`: bad ones let in; `..._with_defect`: those of them whose defect the independent
    judgement sees too. `false_reject`: good ones kept out. What is not good is neither.
    """
    bad = [one for one in results if one.is_bad]
    good = [one for one in results if one.row == GOOD]
    return {
        "bad": len(bad),
        "good": len(good),
        "not_good": sum(one.row == NOT_GOOD for one in results),
        "false_accept": sum(one.admitted for one in bad),
        "false_accept_with_defect": sum(one.admitted and one.shows_defect for one in bad),
        "false_reject": sum(not one.admitted for one in good),
        "by_kind": {row: _count([one for one in results if one.row == row]) for row in (*kinds, GOOD, NOT_GOOD)},
        "details": [_detail(one) for one in results],
    }


def _count(results: Sequence[Result]) -> Json:
    return {
        "built": len(results),
        "admitted": sum(one.admitted for one in results),
        "defect_shown": sum(one.shows_defect for one in results),
        "which_check": dict(Counter(check for one in results for check in one.failed).most_common()),
    }


def _detail(one: Result) -> Json:
    return {
        "kind": one.row,
        "variant": one.variant,
        "lesson": one.lesson,
        "statement": one.statement,
        "admitted": one.admitted,
        "strength": one.strength,
        "failed": list(one.failed),
        "checks": list(one.checks),
        "defect_shown": one.shows_defect,
        "held_out": one.scores.to_json() if one.scores else None,
        "measured": one.measured,
    }


def rows(figures: Json) -> list[list[str]]:
    """The figures by kind as a table, the header first."""
    return [["candidates", "built", "let in", "defect seen by held-out questions", "kept out by"]] + [
        [
            row,
            str(counts["built"]),
            str(counts["admitted"]),
            "" if row in (GOOD, NOT_GOOD) else str(counts["defect_shown"]),
            ", ".join(f"{check} {count}" for check, count in counts["which_check"].items()),
        ]
        for row, counts in figures["by_kind"].items()
    ]


def title(figures: Json) -> str:
    """What is counted in one line."""
    return (
        f"false accepts: {figures['false_accept']} of {figures['bad']} bad "
        f"({figures['false_accept_with_defect']} with the defect seen), "
        f"false rejects: {figures['false_reject']} of {figures['good']} good"
    )
