"""A stream is told in order, asked at the right times, kept on disk, and gone on with after an interruption."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import typer

from evals.stream import command, measure, plots, report, session
from evals.stream.datasets import Item, Probe
from evals.stream.model import Setup
from evals.stream.plan import own_and_all
from evals.stream.records import Besides, OtherRun, Records, Told, claim
from evals.stream.reference import Questions, Reference, load_questions
from evals.stream.run import METHODS, run_method
from tests.unit.evals.stream_fixtures import ITEMS, Scripted, tiny_setup

FOUR = tuple(Item(f"fact {i}", (Probe(f"question {i}", (f"answer {i}",)),)) for i in range(4))
PLAN = own_and_all(FOUR, (4,))
RIGHT = {f"question {i}": f"answer {i}" for i in range(4)}
NOTHING = Questions((("control?", ("yes",)),), ("never?",), (), ())


def _reference(questions: Questions = NOTHING) -> Reference:
    return cast(Reference, SimpleNamespace(questions=questions, kl=lambda weights: 0.0))


def test_what_must_not_change_is_asked_where_that_is_planned_and_kept_on_disk(tmp_path: Path) -> None:
    plan = replace(PLAN, besides_after=frozenset({1}))
    told, _ = run_method(lambda: Scripted(RIGHT), plan, _reference(), Records(tmp_path))
    besides = Besides(["I do not know."], ["I do not know."], [], kl=0.0)
    assert [one.besides for one in told] == [None, besides, None, None]
    assert Records(tmp_path).told() == told


def test_own_probes_are_asked_after_each_fact_and_all_at_checkpoints(tmp_path: Path) -> None:
    method = Scripted(RIGHT)
    told, ended = run_method(lambda: method, own_and_all(FOUR, (2, 4)), _reference(), Records(tmp_path))
    assert method.told == [item.statement for item in FOUR]
    assert [sorted(one.answers) for one in told] == [[0], [0, 1], [2], [0, 1, 2, 3]]
    assert [one.outcome for one in told] == ["told 1", "told 2", "told 3", "told 4"]
    assert told[3].answers[2] == ["answer 2"]
    assert method.asked[-3:] == [["control?"], ["never?"], []]
    assert (ended.controls, ended.kl, method.closed) == (["I do not know."], 0.0, True)


def test_finished_method_is_read_from_disk_and_not_opened(tmp_path: Path) -> None:
    first = run_method(lambda: Scripted(RIGHT), PLAN, _reference(), Records(tmp_path))
    seen: list[int] = []
    again = run_method(
        lambda: pytest.fail("it was opened"),
        PLAN,
        _reference(),
        Records(tmp_path),
        on_fact=lambda told: seen.append(told.fact),
    )
    assert again == first
    assert seen == [0, 1, 2, 3]


@pytest.mark.parametrize(("can_resume", "told_again"), [(True, ["fact 2", "fact 3"]), (False, None)])
def test_interrupted_method_goes_on_if_it_can_and_else_starts_again(
    can_resume: bool, told_again: list[str] | None, tmp_path: Path
) -> None:
    dying = Scripted(RIGHT, can_resume=can_resume, dies_at=2)
    with pytest.raises(KeyboardInterrupt):
        run_method(lambda: dying, PLAN, _reference(), Records(tmp_path))
    assert dying.closed
    assert [one.fact for one in Records(tmp_path).told()] == [0, 1]
    method = Scripted(RIGHT, can_resume=can_resume)
    told, _ = run_method(lambda: method, PLAN, _reference(), Records(tmp_path))
    assert method.told == (told_again or [item.statement for item in FOUR])
    assert [one.fact for one in told] == [one.fact for one in Records(tmp_path).told()] == [0, 1, 2, 3]


def test_line_that_a_kill_cut_off_is_dropped(tmp_path: Path) -> None:
    records = Records(tmp_path)
    whole = Told(0, 1.5, "live", {0: ["a", "b"]})
    records.add(whole)
    with (tmp_path / "facts.jsonl").open("a") as file:
        file.write('{"fact": 1, "seco')
    assert records.told() == [whole]
    records.add(Told(1, 1.0, "live", {}))
    assert [one.fact for one in records.told()] == [0, 1]


def test_folder_of_another_evaluation_is_refused(tmp_path: Path) -> None:
    claim(tmp_path, {"dataset": "zsre", "n": 4})
    claim(tmp_path, {"dataset": "zsre", "n": 4})
    with pytest.raises(OtherRun, match="n was 4 and is 5"):
        claim(tmp_path, {"dataset": "zsre", "n": 5})


def test_shipped_questions_are_all_loaded() -> None:
    questions = load_questions(ITEMS)
    assert (len(questions.controls), len(questions.never_told), len(questions.prompts)) == (80, 30, 40)
    assert questions.unrelated == ("Who wrote Hamlet?",)


def _stream(setup: Setup, folder: Path) -> dict[str, Any]:
    return measure.measure(
        setup,
        own_and_all(ITEMS, (1, 2)),
        list(METHODS),
        folder,
        lambda told, ended, asked: report.figures(ITEMS, told, ended, asked.questions, asked.base, seed=0),
    )


@pytest.mark.usefixtures("_small")
def test_all_methods_go_through_a_stream_of_two_facts(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)
    results = _stream(setup, tmp_path / "run")
    assert list(results) == ["engram", "base", "in-context", "retrieval", "seal", "last-third"]
    for found in results.values():
        (first,), (again, second) = [recall for recall in found["matrix"][0] if recall is not None], found["matrix"][1]
        assert all(0 <= recall <= 1 for recall in (first, again, second))
        assert found["leak"] is None
        assert found["seconds_per_fact"] >= 0
        assert 0 <= found["unrelated"] <= 1
    assert results["base"]["kl"] == results["in-context"]["kl"] == results["retrieval"]["kl"] == 0.0
    assert results["base"]["unrelated"] == 1.0
    assert all(results[name]["kl"] > 0 for name in ("engram", "seal", "last-third"))
    assert [fact["outcome"] for fact in results["engram"]["details"]["facts"]] == ["live, v1", "live, v2"]
    json.dumps(results, allow_nan=False)
    assert _stream(setup, tmp_path / "run") == results


@pytest.mark.usefixtures("_small")
def test_command_writes_figures_and_table_and_says_why_there_are_no_plots(
    told_once_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(session, "open_setup", lambda settings, items: tiny_setup(tmp_path))
    monkeypatch.setattr(plots, "is_available", lambda: False)
    command.stream_command(
        path=told_once_file,
        n=2,
        methods="base, in-context",
        json_path=tmp_path / "out.json",
        markdown_path=tmp_path / "out.md",
        plots_folder=tmp_path / "plots",
        resume=tmp_path / "resume",
    )
    report: dict[str, Any] = json.loads((tmp_path / "out.json").read_text())
    assert (report["dataset"], report["n"], report["seed"], report["base"]) == ("told-once", 2, 0, "tiny-0")
    assert list(report["methods"]) == ["base", "in-context"]
    assert "| in-context |" in (tmp_path / "out.md").read_text()
    assert plots.MISSING in " ".join(capsys.readouterr().out.split())
    assert (tmp_path / "resume" / "base" / "end.json").exists()


@pytest.mark.parametrize("given", [{"methods": "base,magic"}, {"methods": " , "}, {"dataset": "zsre"}])
def test_command_refuses_what_it_does_not_know(given: dict[str, Any]) -> None:
    with pytest.raises(typer.BadParameter):
        command.stream_command(**given)


def test_plots_are_drawn_where_matplotlib_is_installed(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    matrix = [[1.0, None], [0.5, 0.0]]
    report = {
        "dataset": "zsre",
        "n": 2,
        "seed": 0,
        "methods": {"engram": {"matrix": matrix}, "base": {"matrix": matrix}},
    }
    files = plots.stream(report, tmp_path)
    assert [file.name for file in files] == ["forgetting.png", "lag.png"]
    assert all(file.stat().st_size > 1000 for file in files)
