"""The command: which rows are run, what a failing one does to the others, what is written."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.bench import main
from evals.bench.figures import Figure

KEYS = [row.key for row in main.ROWS]


@pytest.fixture
def run_rows(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Rows that were run; `matmul_share` fails."""
    ran: list[str] = []

    def measured(key: str) -> Callable[[], Figure]:
        def measure() -> Figure:
            ran.append(key)
            if key == "matmul_share":
                raise RuntimeError("no memory")
            return Figure([2.0, 1.0, 4.0])

        return measure

    def group(keys: Sequence[str]) -> Callable[..., None]:
        def run(wanted: Sequence[str], results: main.Results, **_: Any) -> None:
            main._measure({key: measured(key) for key in keys}, wanted, results)

        return run

    monkeypatch.setattr(main, "_measure_served", group(main.SERVED))
    monkeypatch.setattr(main, "_measure_in_process", group(main.IN_PROCESS))
    return ran


def test_a_failing_row_is_null_and_the_others_are_measured(run_rows: list[str], tmp_path: Path) -> None:
    result = CliRunner().invoke(main.app, ["--json", str(tmp_path / "out.json")])
    assert result.exit_code == 1
    assert sorted(run_rows) == sorted(KEYS)
    written = json.loads((tmp_path / "out.json").read_text())
    assert list(written) == [*KEYS, "details"]
    assert {key: written[key] for key in KEYS} == {key: None if key == "matmul_share" else 2.0 for key in KEYS}
    assert written["details"]["matmul_share"]["error"] == "RuntimeError: no memory"


def test_what_was_measured_is_on_disk_before_the_next_row_begins(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "new" / "out.json"

    def killed(wanted: Sequence[str], results: main.Results, **_: Any) -> None:
        results.add("chat_p95_ratio", Figure([1.5]))
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "_measure_served", killed)
    result = CliRunner().invoke(main.app, ["--json", str(path)])
    assert result.exit_code != 0
    assert json.loads(path.read_text())["chat_p95_ratio"] == 1.5


def test_only_the_rows_asked_for_are_run(run_rows: list[str]) -> None:
    result = CliRunner().invoke(main.app, ["--only", "growth_100_over_10", "--only", "chat_p95_ratio"])
    assert result.exit_code == 0, result.output
    assert run_rows == ["chat_p95_ratio", "growth_100_over_10"]


def test_a_row_that_does_not_exist_is_refused_before_anything_is_run(run_rows: list[str]) -> None:
    result = CliRunner().invoke(main.app, ["--only", "speed"])
    assert result.exit_code == 2
    assert "no such row" in result.output
    assert run_rows == []
