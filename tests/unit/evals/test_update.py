"""Facts are told, then replaced: who answers anew, and who with what held before."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.stream import session
from evals.stream.datasets import Dataset, Item, Kind, Probe
from evals.stream.records import Besides, Told
from evals.stream.reference import BaseAnswers, Questions
from evals.stream.rows import DatasetError
from evals.update.command import update_command
from evals.update.pairs import UPDATES, Pair, draw_pairs, read_pairs
from evals.update.report import figures, make_plan
from tests.unit.evals.stream_fixtures import CAT, TOWN, tiny_setup
from tests.unit.evals.test_stream_datasets import COUNTERFACT, ZSRE

OWN = {
    "id": "u1",
    "before": "I live in Bergen.",
    "after": "I moved to Oslo.",
    "probes": [
        {"question": "My town?", "before": "Bergen", "after": "Oslo", "aliases": {"after": ["Christiania"]}},
        {"question": "Where is home?", "before": "Bergen", "after": "Oslo"},
    ],
}
TOWNS = Pair(
    Item("I live in Bergen.", (Probe("My town?", ("Bergen",)), Probe("Where is home?", ("Bergen",)))),
    Item("I moved to Oslo.", (Probe("My town?", ("Oslo", "Christiania")), Probe("Where is home?", ("Oslo",)))),
)
CARS = Pair(
    Item("I drive a Lada.", (Probe("My car?", ("Lada",)), Probe("What do I drive?", ("Lada",), Kind.REPHRASED))),
    Item("I drive a Fiat now.", (Probe("My car?", ("Fiat",)), Probe("What do I drive?", ("Fiat",), Kind.REPHRASED))),
)
NOTHING, BASE = Questions((), (), (), ()), BaseAnswers((), (), ())
TOLD = [
    Told(0, 1.0, "live", {0: ["Bergen", "Bergen"]}),
    Told(1, 1.0, "live", {0: ["Bergen", "?"], 1: ["Lada", "Lada"]}),
    Told(2, 3.0, "live", {2: ["Oslo", "Oslo"]}),
    Told(3, 5.0, "live", {2: ["Bergen", "From Bergen to Oslo"], 3: ["Lada", "Fiat"]}),
]


def _file(folder: Path, *rows: Any) -> Path:
    path = folder / "updates.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_own_format_has_two_answers_to_each_probe(tmp_path: Path) -> None:
    assert read_pairs(Dataset.TOLD_ONCE, _file(tmp_path, OWN)) == [TOWNS]


def test_edits_go_from_what_was_said_before_to_the_target(tmp_path: Path) -> None:
    (zsre,) = read_pairs(Dataset.ZSRE, _file(tmp_path, {**ZSRE, "pred": "Lund"}))
    assert zsre.before.statement == "Where did Ada study? Lund."
    assert zsre.after.statement == "Where did Ada study? Uppsala."
    assert [probe.answers for probe in zsre.before.probes] == [("Lund",), ("Lund",)]
    assert len(zsre.after.unrelated) == 1
    (counterfact,) = read_pairs(Dataset.COUNTERFACT, _file(tmp_path, COUNTERFACT))
    assert counterfact.before.statement == "The Louvre is located in Paris."
    assert counterfact.after.statement == "The Louvre is located in Rome."


def test_pair_whose_old_answer_holds_the_new_one_is_left_out(tmp_path: Path) -> None:
    rows = [{**ZSRE, "pred": "Uppsala University"}, {**ZSRE, "pred": "Lund"}]
    assert len(read_pairs(Dataset.ZSRE, _file(tmp_path, *rows))) == 1


@pytest.mark.parametrize("dataset", [Dataset.WIKIDYK, Dataset.SQUAD])
def test_set_with_one_answer_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"{dataset} has one answer.*take told-once, zsre, counterfact"):
        read_pairs(dataset, tmp_path / "none")


def test_row_without_the_old_answer_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="row 1 is no zsre update row: 'pred' is missing"):
        read_pairs(Dataset.ZSRE, _file(tmp_path, ZSRE))


def test_shipped_pairs_are_read_and_all_told_apart() -> None:
    pairs = read_pairs(Dataset.TOLD_ONCE, UPDATES)
    assert len(pairs) == 30
    drawn = draw_pairs(pairs, n=30, seed=1)
    assert drawn != pairs
    assert sorted(map(repr, drawn)) == sorted(map(repr, pairs))
    assert draw_pairs(pairs, n=5, seed=1) == drawn[:5]


def test_all_old_facts_come_first_and_all_are_asked_before_and_after_the_updates() -> None:
    plan = make_plan([TOWNS, CARS])
    assert plan.items == (TOWNS.before, CARS.before, TOWNS.after, CARS.after)
    assert plan.asked == ((0,), (0, 1), (2,), (2, 3))
    assert make_plan([TOWNS]).asked == ((0,), (1,))


def test_new_and_stale_answers_are_counted_and_one_that_holds_both_is_new() -> None:
    found = figures([TOWNS, CARS], TOLD, Besides([], [], [], kl=0.0), NOTHING, BASE, seed=0)
    assert found["old_answer"] == 0.75
    assert (found["new_answer_immediate"], found["stale_answer_immediate"]) == (0.5, 0.5)
    # Towns: one stale, one holds both; cars: stale. What is rephrased is counted apart.
    assert (found["new_answer"], found["stale_answer"], found["rephrased"]) == (0.25, 0.75, 1.0)
    assert found["seconds_per_update"] == 4.0
    assert found["intervals"]["new_answer"] == (0.0, 0.5)
    first = found["details"]["updates"][0]["probes"][0]
    assert (first["before"], first["immediate"], first["final"]) == ("Bergen", "Oslo", "Bergen")


@pytest.mark.usefixtures("_small")
def test_command_tells_measures_writes_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The author knows both statements; that they contradict each other is nothing to the tiny base."""
    monkeypatch.setattr(session, "open_setup", lambda settings, items: tiny_setup(tmp_path))
    row = {
        "before": CAT.statement,
        "after": TOWN.statement,
        "probes": [{"question": "?", "before": "Biscuit", "after": "Bergen"}],
    }
    path, out = _file(tmp_path, row), tmp_path / "new" / "out.json"
    for _ in range(2):
        update_command(
            path=path,
            n=1,
            methods="engram,retrieval",
            json_path=out,
            markdown_path=tmp_path / "out.md",
            resume=tmp_path / "resume",
        )
    report: dict[str, Any] = json.loads(out.read_text())
    assert report["eval"] == "update"
    (update,) = report["methods"]["engram"]["details"]["updates"]
    assert update["outcomes"] == ["live, v1", "live, v2"]
    assert report["methods"]["retrieval"]["new_answer"] is not None
    assert "| engram |" in (tmp_path / "out.md").read_text()
    assert "1 facts and their updates: told-once, seed 0" in " ".join(capsys.readouterr().out.split())
