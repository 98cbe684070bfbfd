"""Turn samples into figures with their spread, a table and the JSON of `engram bench`. Pure: measures nothing."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `key` is its name in the JSON and for `--only`; `unit` is empty for a ratio.

    `wanted` is the target on two cores with the embedded base.
    """

    key: str
    label: str
    wanted: str
    unit: str = ""


SPEEDUP = Row(
    "speedup_vs_peft_trainer",
    "five candidates of a fact, rehearsing: seconds a step, PEFT Trainer over ours",
    ">= 5",
)
MATMUL_SHARE = Row(
    "matmul_share", "useful arithmetic rate of a training step over that of bare matrix products", ">= 0.60"
)
GROWTH = Row("growth_100_over_10", "seconds to learn one fact, from ledger to live, after 100 facts over 10", "<= 1.3")
STATEMENT_TO_LIVE = Row("statement_to_live_s", "statement said to live in the weights, one fact", "<= 45 s", "s")
CHAT_P95 = Row("chat_p95_ratio", "p95 latency of a short chat request, while a run learns over idle", "<= 2")

ROWS = (SPEEDUP, MATMUL_SHARE, GROWTH, STATEMENT_TO_LIVE, CHAT_P95)


@dataclass(frozen=True, slots=True)
class Figure:
    """What a row measured: one or more samples, in the row's unit, and what lies behind them."""

    samples: Sequence[float]
    details: Json = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.samples)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a row that was asked for has no figure."""

    reason: str


Outcomes = Mapping[str, Figure | Failure]  # by `Row.key`; a row that was not run is missing


def to_json(outcomes: Outcomes, *, machine: Json) -> Json:
    """A median for each row, null for one without a figure; everything else under `details`."""
    medians: Json = {}
    details: Json = {"machine": machine}
    for row in ROWS:
        outcome = outcomes.get(row.key)
        medians[row.key] = round(outcome.median, 4) if isinstance(outcome, Figure) else None
        if outcome is not None:
            details[row.key] = _details(outcome)
    return {**medians, "details": details}


def table(outcomes: Outcomes) -> Table:
    """A line for each row that was asked for: median, target, and the least and the greatest sample."""
    drawn = Table(title="engram bench")
    for column in ("figure", "what it compares"):
        drawn.add_column(column, overflow="fold")
    for column in ("median", "wanted", "min..max", "n"):
        drawn.add_column(column, justify="right", no_wrap=True)
    for row in ROWS:
        outcome = outcomes.get(row.key)
        if isinstance(outcome, Figure):
            spread = f"{_shown(min(outcome.samples), row)}..{_shown(max(outcome.samples), row)}"
            drawn.add_row(
                row.key, row.label, _shown(outcome.median, row), row.wanted, spread, str(len(outcome.samples))
            )
        elif outcome is not None:
            drawn.add_row(row.key, row.label, "failed", row.wanted, "-", "0")
    return drawn


def p95(seconds: Sequence[float]) -> float:
    """The 95th percentile, interpolated between samples; at least two are needed."""
    return statistics.quantiles(seconds, n=20, method="inclusive")[-1]


def _details(outcome: Figure | Failure) -> Json:
    if isinstance(outcome, Failure):
        return {"error": outcome.reason}
    samples = [round(sample, 4) for sample in outcome.samples]
    return {"samples": samples, "min": min(samples), "max": max(samples), **outcome.details}


def _shown(value: float, row: Row) -> str:
    return f"{value:.1f} {row.unit}" if row.unit else f"{value:.2f}"
