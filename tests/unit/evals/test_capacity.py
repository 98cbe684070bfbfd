"""The curve of recall by the number of facts told, with what it costs, at every checkpoint."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.capacity.command import capacity_command
from evals.capacity.report import COLUMNS, figures, make_plan, rows
from evals.stream import plots, session
from evals.stream.datasets import Item, Probe
from evals.stream.records import Besides, Told
from evals.stream.reference import BaseAnswers, Questions
from evals.stream.tables import lay_out
from tests.unit.evals.stream_fixtures import tiny_setup

THREE = tuple(Item(f"fact {i}", (Probe(f"question {i}", (f"answer {i}",)),)) for i in range(3))
QUESTIONS = Questions((("control?", ("yes",)),), ("never?",), (), ())
BASE = BaseAnswers(("yes",), ("no idea",), ())
EARLY, LATE = Besides(["yes"], ["answer 2"], [], kl=0.5), Besides(["no"], ["answer 2"], [], kl=1.5)
TOLD = [
    Told(0, 1.0, "live", {0: ["answer 0"]}),
    Told(1, 2.0, "live", {0: ["answer 0"], 1: ["wrong"]}, EARLY),
    Told(2, 6.0, "live", {0: ["wrong"], 1: ["wrong"], 2: ["answer 2"]}),
]


def test_all_are_asked_at_checkpoints_and_what_must_not_change_at_all_but_the_last() -> None:
    plan = make_plan(THREE, (2, 3))
    assert plan.asked == ((0,), (0, 1), (0, 1, 2))
    assert plan.besides_after == {1}  # after the last fact it is asked anyway


def test_points_are_of_all_facts_told_so_far() -> None:
    found = figures(make_plan(THREE, (2, 3)), TOLD, LATE, QUESTIONS, BASE, seed=0)
    first, last = found["points"]
    assert (first["facts"], first["recall"], first["immediate"], first["seconds_per_fact"]) == (2, 0.5, 0.5, 1.5)
    assert (last["facts"], last["recall"], last["immediate"], last["seconds_per_fact"]) == (3, 1 / 3, 1.0, 6.0)
    assert (first["control"], first["kl"]) == (1.0, 0.5)
    assert (last["control"], last["kl"]) == (0.0, 1.5)
    # 'answer 2' was not told yet at the first checkpoint: then it is no recall.
    assert (first["false_recall"], last["false_recall"]) == (0.0, 1.0)
    assert first["intervals"]["recall"] == (0.0, 1.0)
    assert found["details"]["at_the_end"]["controls_lost"] == ["control? -> no"]


def test_table_has_a_row_a_checkpoint() -> None:
    found = figures(make_plan(THREE, (2, 3)), TOLD, LATE, QUESTIONS, BASE, seed=0)
    table = lay_out("method", COLUMNS, rows({"engram": found}))
    assert table[1] == ["engram", "2", "0.50 (0.00–1.00)", "0.50", "1.00", "0.500", "0.00", "1.5"]
    assert [row[1] for row in table] == ["facts told", "2", "3"]


@pytest.mark.usefixtures("_small")
def test_command_tells_measures_and_writes(
    told_once_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "open_setup", lambda settings, items: tiny_setup(tmp_path))
    capacity_command(
        path=told_once_file,
        n=2,
        methods="engram,retrieval",
        json_path=tmp_path / "out.json",
        markdown_path=tmp_path / "out.md",
        plots_folder=tmp_path / "plots" if plots.is_available() else None,
        resume=tmp_path / "resume",
    )
    report: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    assert (report["eval"], report["checkpoints"]) == ("capacity", 10)
    assert {name: [point["facts"] for point in one["points"]] for name, one in report["methods"].items()} == {
        "engram": [1, 2],
        "retrieval": [1, 2],
    }
    assert all(point["kl"] > 0 for point in report["methods"]["engram"]["points"])
    assert (tmp_path / "out.md").read_text().startswith("`engram eval capacity --dataset told-once --n 2 --seed 0`")
    if plots.is_available():
        assert (tmp_path / "plots" / "capacity.png").stat().st_size > 1000
