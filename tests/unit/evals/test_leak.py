"""What one space was told is asked for in its neighbour's and in an empty one."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.leak.command import leak_command
from evals.leak.report import COLUMNS, figures
from evals.leak.run import Found, run
from evals.stream import session
from evals.stream.datasets import Item, Probe
from evals.stream.measure import bars, open_reference
from evals.stream.records import Told
from evals.stream.tables import lay_out
from tests.unit.evals.stream_fixtures import ITEMS, tiny_setup

FIRST = (
    Item("I live in Bergen.", (Probe("My town?", ("Bergen",)), Probe("Where is home?", ("Bergen",)))),
    Item("My cat is Biscuit.", (Probe("My cat?", ("Biscuit",)),)),
)
OWN = (Item("My dog is biscuit.", (Probe("My dog?", ("biscuit",)),)),)
BASE = {0: ["Bergen, perhaps?", "No idea."], 1: ["No idea."]}


def _found(*, neighbour: dict[int, list[str]], stranger: dict[int, list[str]]) -> Found:
    told = [Told(0, 1.0, "live", {0: ["?", "?"]}), Told(1, 1.0, "live", {0: ["Bergen", "Oslo"], 1: ["Biscuit"]})]
    own = [Told(0, 1.0, "live", {0: ["Biscuit"]})]
    return Found(told, own, {"neighbour": neighbour, "stranger": stranger}, BASE)


def test_answer_leaks_if_it_holds_what_the_first_space_alone_was_told_and_the_base_does_not_say() -> None:
    neighbour = {0: ["Bergen", "In Bergen."], 1: ["Biscuit"]}  # said by the base; leaks; told to the neighbour too
    found = figures(FIRST, OWN, _found(neighbour=neighbour, stranger=BASE), seed=0)
    spaces = found["spaces"]
    assert spaces["neighbour"]["leak"] == 0.25
    assert spaces["neighbour"]["intervals"]["leak"] == (0.0, 0.5)
    assert spaces["stranger"]["leak"] == 0.0
    assert found["details"]["leaked"] == {"neighbour": ["Where is home? -> In Bergen."], "stranger": []}


def test_any_fact_of_the_first_space_counts_whatever_was_asked() -> None:
    neighbour = {0: ["?", "?"], 1: ["Bergen"]}
    assert figures(FIRST, OWN, _found(neighbour=neighbour, stranger=BASE), seed=0)["spaces"]["neighbour"]["leak"] == 0.5


def test_each_space_has_a_row_with_the_recall_of_its_own() -> None:
    found = figures(FIRST, OWN, _found(neighbour=BASE, stranger=BASE), seed=0)
    header, told, neighbour, stranger = lay_out("space", COLUMNS, found["spaces"].items())
    assert header == ["space", "facts of its own", "recall of them", "leak of the first space's"]
    assert told == ["told", "2", "0.75 (0.50–1.00)", "–"]
    assert neighbour == ["neighbour", "1", "1.00 (1.00–1.00)", "0.00 (0.00–0.00)"]
    assert stranger == ["stranger", "0", "–", "0.00 (0.00–0.00)"]


@pytest.mark.usefixtures("_small")
def test_spaces_of_one_engram_learn_apart_and_an_empty_one_answers_as_the_base(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)

    def found() -> Found:
        with bars() as progress:
            reference = open_reference(setup, ITEMS)
            folder = tmp_path / "run"
            return run(setup, ITEMS[:1], ITEMS[1:], reference=reference, folder=folder, progress=progress)

    first = found()
    assert [one.outcome for one in (*first.told, *first.neighbour)] == ["live, v1", "live, v1"]
    assert first.asked["stranger"] == first.base
    assert first.asked["neighbour"] != first.told[-1].answers
    assert len(list((tmp_path / "run" / "home" / "adapters").glob("sp_*/v1-*"))) == 2
    assert found() == first  # from disk


@pytest.mark.usefixtures("_small")
def test_command_writes_a_row_a_space(told_once_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "open_setup", lambda settings, items: tiny_setup(tmp_path))
    leak_command(path=told_once_file, n=1, own=1, json_path=tmp_path / "out.json", markdown_path=tmp_path / "out.md")
    report: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    assert (report["eval"], report["n"], report["own"]) == ("leak", 1, 1)
    assert report["spaces"]["stranger"]["leak"] == 0.0
    assert [line.split(" | ")[0] for line in (tmp_path / "out.md").read_text().splitlines()[4:]] == [
        "| told",
        "| neighbour",
        "| stranger",
    ]
