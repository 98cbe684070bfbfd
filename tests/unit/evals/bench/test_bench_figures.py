"""What the bench writes and prints: medians with their spread, null for what was not run or failed."""

import io

import pytest
from rich.console import Console

from evals.bench.figures import GROWTH, MATMUL_SHARE, STATEMENT_TO_LIVE, Failure, Figure, p95, table, to_json

KEYS = ["speedup_vs_peft_trainer", "matmul_share", "growth_100_over_10", "statement_to_live_s", "chat_p95_ratio"]
OUTCOMES = {
    MATMUL_SHARE.key: Figure([0.5, 0.25, 0.75], {"threads": 2}),
    STATEMENT_TO_LIVE.key: Figure([48.26]),
    GROWTH.key: Failure("RuntimeError: out of memory"),
}


def test_json_has_the_five_rows_and_details() -> None:
    written = to_json(OUTCOMES, machine={"cores": 2})
    assert list(written) == [*KEYS, "details"]
    assert [written[key] for key in KEYS] == [None, 0.5, None, 48.26, None]
    assert written["details"]["machine"] == {"cores": 2}
    assert written["details"]["matmul_share"] == {"samples": [0.5, 0.25, 0.75], "min": 0.25, "max": 0.75, "threads": 2}
    assert written["details"]["growth_100_over_10"] == {"error": "RuntimeError: out of memory"}
    assert "chat_p95_ratio" not in written["details"]


def test_table_shows_median_and_spread_of_what_was_run() -> None:
    console = Console(width=140, file=io.StringIO(), record=True)
    console.print(table(OUTCOMES))
    shown = console.export_text()
    assert "0.50" in shown
    assert "0.25..0.75" in shown
    assert "48.3 s" in shown
    assert "failed" in shown
    assert "chat_p95_ratio" not in shown


def test_p95_lies_between_the_slowest_samples() -> None:
    assert p95([float(n) for n in range(101)]) == pytest.approx(95.0)
    assert 1.0 < p95([1.0, 2.0]) <= 2.0
