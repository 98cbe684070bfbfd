"""Facts are told, some are deleted: what is recalled, what is left of them, and how an interruption is gone on from."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import typer

from evals.forget import run as forget_run
from evals.forget.command import forget_command
from evals.forget.ledger import Left, Version, choose
from evals.forget.report import COLUMNS, figures
from evals.forget.run import After, Found, run
from evals.stream import session
from evals.stream.measure import bars
from evals.stream.records import Besides, Told
from evals.stream.reference import BaseAnswers, Questions, Reference
from evals.stream.tables import lay_out
from tests.unit.evals.stream_fixtures import ITEMS, QUESTIONS, tiny_setup
from worker.service import Worker

NOTHING, BASE = Questions((), (), (), ()), BaseAnswers((), (), ())
BESIDES = Besides([], [], [], kl=0.25)
TOLD = [
    Told(0, 1.0, "live, v1", {0: ["a cat", "Biscuit"]}),
    Told(1, 1.0, "live, v2", {0: ["a cat", "Biscuit"], 1: ["Bergen", "Bergen"]}),
]
AFTER = After(
    90.0,
    Left(
        {0: {"status": "forgotten", "erased": True, "proof": None}},
        ["published: passed the gate"],
        [Version(1, "withdrawn", has_files=False), Version(2, "retired", has_files=True)],
    ),
    {0: ["a dog", "?"], 1: ["Bergen", "Oslo"]},
    BESIDES,
)


def test_forgotten_facts_are_drawn_from_those_that_were_learned() -> None:
    learned = {place: f"fact_{place}" for place in (1, 4, 5, 9)}
    chosen = choose(learned, count=2, seed=0)
    assert len(chosen) == 2
    assert chosen.items() <= learned.items()
    assert choose(learned, count=2, seed=0) == chosen
    assert choose(learned, count=9, seed=0) == learned


def test_recall_of_the_forgotten_is_compared_with_the_base_and_of_the_rest_with_before() -> None:
    base = {0: ["a cat", "?"], 1: ["?", "?"]}
    found = figures(ITEMS, Found(TOLD, BESIDES, base, AFTER), NOTHING, BASE, seed=0)
    assert (found["recall_before"], found["recall_after"], found["recall_base"]) == (1.0, 0.0, 1.0)
    assert found["recall_above_base"] == 0.0  # not -100: what the base knows better makes up for nothing
    assert (found["rest_before"], found["rest_after"], found["kept"]) == (1.0, 0.5, 0.5)
    assert (found["forgotten"], found["facts_erased"]) == (1, 1)
    assert (found["versions"], found["versions_withdrawn"], found["versions_with_files"]) == (2, 1, 1)
    assert found["details"]["facts"][0]["probes"][0] == {
        "question": "Whose name is Biscuit?",
        "gold": ["cat"],
        "before": "a cat",
        "after": "a dog",
        "base": "a cat",
    }
    (_, row) = lay_out("method", COLUMNS, [("engram", found)])
    assert row[1:6] == ["1", "1.00 (1.00–1.00)", "0.00 (0.00–0.00)", "1.00 (1.00–1.00)", "+0.0 (+0.0–+0.0)"]


def test_what_the_base_does_not_answer_counts_as_recalled() -> None:
    base = {0: ["a dog", "?"], 1: ["?", "?"]}
    after = replace(AFTER, answers={0: ["a cat", "?"], 1: ["Bergen", "Bergen"]})
    found = figures(ITEMS, Found(TOLD, BESIDES, base, after), NOTHING, BASE, seed=0)
    assert found["recall_above_base"] == 100.0


def _run(tmp_path: Path, *, setup: Any = None) -> Found:
    setup = setup or tiny_setup(tmp_path)
    with bars() as progress:
        return run(setup, ITEMS, Reference(setup, QUESTIONS), tmp_path / "run", count=1, progress=progress)


@pytest.mark.usefixtures("_small")
def test_engram_forgets_by_a_rebuild_withdraws_what_was_taught_and_deletes_its_files(tmp_path: Path) -> None:
    found = _run(tmp_path)
    left = found.after.left
    ((place, fact),) = left.facts.items()
    assert (fact["status"], fact["erased"]) == ("forgotten", True)
    assert left.rebuilds == ["published: passed the gate"]
    held = [version.version for version in left.versions]
    assert held == ([1, 2] if place == 0 else [2])
    assert all((version.status, version.has_files) == ("withdrawn", False) for version in left.versions)
    assert sorted(found.after.answers) == sorted(found.base) == [0, 1]
    assert _run(tmp_path).after == found.after  # from disk


@pytest.mark.usefixtures("_small")
def test_killed_between_deletion_and_rebuild_it_goes_on_with_the_same_facts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    delete = forget_run.delete
    with monkeypatch.context() as patched:
        patched.setattr(forget_run, "delete", lambda *args: (delete(*args), patched.setattr(Worker, "learn", killed)))
        with pytest.raises(KeyboardInterrupt):
            _run(tmp_path)
    chosen = json.loads((tmp_path / "run" / "chosen.json").read_text())
    left = _run(tmp_path).after.left
    assert [str(place) for place in left.facts] == list(chosen)
    assert [fact["status"] for fact in left.facts.values()] == ["forgotten"]
    assert len(left.rebuilds) == 1


@pytest.mark.usefixtures("_small")
def test_command_writes_what_was_found(
    told_once_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "open_setup", lambda settings, items: tiny_setup(tmp_path))
    forget_command(
        path=told_once_file, n=2, forget=1, json_path=tmp_path / "out.json", markdown_path=tmp_path / "out.md"
    )
    report: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    assert (report["eval"], report["forget"], report["forgotten"], report["facts_erased"]) == ("forget", 1, 1, 1)
    assert report["versions"] == report["versions_withdrawn"] > report["versions_with_files"] == 0
    assert "1 facts forgotten" in (tmp_path / "out.md").read_text()
    assert "1 of 2 facts forgotten: told-once, seed 0" in " ".join(capsys.readouterr().out.split())


def test_something_must_be_left_to_keep() -> None:
    with pytest.raises(typer.BadParameter, match="leaves none to keep"):
        forget_command(n=5, forget=5)
