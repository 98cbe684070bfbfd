"""The whole evaluation on the tiny base: a well-formed report, through the command line."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from engram.grading import recalls
from engram.routing import OWN_SHARD
from evals.gate import run as gate_run
from evals.gate.build import KINDS, Bench, Lesson, Options, build
from evals.gate.judge import Judge, open_judge
from evals.gate.records import Records
from evals.gate.report import Result
from evals.gate.verdict import ORDINARY
from evals.main import app
from evals.stream.records import OtherRun
from scope.decision import Scope
from worker.learner import Learner
from worker.served import Served
from worker.teaching import STRENGTHS
from worker.training.stacked_lora import stack

BEFORE, AFTER = Scope.of_nothing(3), Scope.of_nothing(3)


@pytest.fixture(scope="module")
def judge(bench: Bench) -> Judge:
    return open_judge(bench.learner, seed=0)


@pytest.fixture(scope="module")
def heard() -> list[tuple[int, int]]:
    """How many bad and good candidates there were, as the evaluation went on."""
    return []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def figures(bench: Bench, folder: Path, heard: list[tuple[int, int]]) -> dict[str, Any]:
    return gate_run.run(bench, Records(folder), lambda bad, good: heard.append((bad, good)))


def test_report_counts_one_of_each_kind(figures: dict[str, Any]) -> None:
    assert figures["bad"] == len(KINDS)
    assert list(figures["by_kind"]) == [*KINDS, "good", "not good"]
    assert all(figures["by_kind"][kind]["built"] == 1 for kind in KINDS)
    assert figures["by_kind"]["not good"]["built"] == figures["not_good"] > 0
    assert len(figures["details"]) == figures["bad"] + figures["good"] + figures["not_good"]
    assert {one["lesson"] for one in figures["details"]} == {one["lesson"] for one in figures["lessons"]}


def test_tiny_base_learns_nothing_so_nothing_is_let_in(figures: dict[str, Any]) -> None:
    assert figures["false_accept"] == figures["false_reject"] == figures["good"] == 0


def test_bad_and_good_so_far_are_heard(figures: dict[str, Any], heard: list[tuple[int, int]]) -> None:
    assert heard == sorted(heard)
    assert heard[-1] == (figures["bad"], figures["good"])


def test_interrupted_evaluation_goes_on_after_the_lessons_on_record(
    bench: Bench, folder: Path, figures: dict[str, Any], tmp_path: Path
) -> None:
    first, *rest = (folder / "lessons.jsonl").read_text().splitlines()
    assert rest
    (tmp_path / "lessons.jsonl").write_text(f"{first}\n{rest[0][:50]}")
    counted: list[tuple[int, int]] = []
    again = gate_run.run(bench, Records(tmp_path), lambda bad, good: counted.append((bad, good)))
    assert json.dumps(again) == json.dumps(figures)
    assert counted[0][0] > 0


def test_finished_evaluation_is_read_from_disk(
    bench: Bench, folder: Path, figures: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    finished = replace(bench, options=replace(bench.options, num_good=0))
    monkeypatch.setattr(gate_run, "lessons", lambda *args, **options: pytest.fail("it went on"))
    assert json.dumps(gate_run.run(finished, Records(folder))) == json.dumps(figures)


def test_command_prints_the_figures_and_writes_them(
    figures: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Options] = []

    def run(bench: str, records: Records, on_results: Callable[[int, int], None]) -> dict[str, Any]:
        on_results(11, 0)
        return figures

    monkeypatch.setattr(gate_run, "open_bench", lambda settings, options, *, path, say: asked.append(options))
    monkeypatch.setattr(gate_run, "run", run)
    path, table = tmp_path / "new" / "gate.json", tmp_path / "gate.md"
    arguments = ["gate", "--bad", "11", "--good", "1", "--seed", "5", "--json", str(path), "--markdown", str(table)]
    result = CliRunner().invoke(app, [*arguments, "--resume", str(tmp_path / "state")])
    assert result.exit_code == 0, result.output
    assert asked == [Options(num_bad=11, num_good=1, seed=5)]
    assert "false accepts: 0 of 11 bad" in " ".join(result.output.split())
    assert json.loads(path.read_text()).items() >= {"eval": "gate", "seed": 5, **figures}.items()
    assert "| garbage notes | 1 | 0 |" in table.read_text()
    other = CliRunner().invoke(app, ["gate", "--bad", "12", "--resume", str(tmp_path / "state")])
    assert isinstance(other.exception, OtherRun)


def test_broken_candidates_are_kept_out_by_the_checks_meant_for_them(
    bench: Bench, lesson: Lesson, judge: Judge
) -> None:
    kinds = ["NaN in weights", "truncated file", "wrong base"]
    results = gate_run.examined(bench, judge, lesson, build(bench, lesson, kinds, number=0))
    failed = {one.kind: set(one.failed) for one in results if one.kind != ORDINARY}
    assert failed == {"NaN in weights": {"files", "finite"}, "truncated file": {"files"}, "wrong base": {"files"}}


def test_candidate_that_passes_gate_and_files_is_admitted(
    bench: Bench, lesson: Lesson, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer of every candidate is right: then only what is broken is kept out."""
    built = build(bench, lesson, KINDS, number=0)
    _answer_all_right(monkeypatch, lesson)
    results = gate_run.examined(bench, judge, lesson, built)
    kept_out = {one.kind for one in results if not one.admitted}
    assert {"NaN in weights", "truncated file", "wrong base"} <= kept_out
    ordinary = [one for one in results if one.kind == ORDINARY]
    assert all(one.scores and one.scores.is_good for one in ordinary)
    assert [one.failed for one in ordinary if not one.admitted and one.failed != ("kl",)] == []


def test_what_only_disturbs_too_much_is_judged_again_with_less_of_it(
    bench: Bench, lesson: Lesson, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build(bench, lesson, (), number=0)
    _answer_all_right(monkeypatch, lesson)

    def judged(max_kl: float) -> list[Result]:
        strict = bench.settings.model_copy(update={"gate_max_kl": max_kl})
        return gate_run.examined(replace(bench, settings=strict), judge, lesson, built)

    whole, weak = judged(1.0), judged(0.0)
    assert all(one.admitted and one.strength == STRENGTHS[0] for one in whole)
    assert all(one.failed == ("kl",) and one.strength == STRENGTHS[-1] for one in weak)
    between = (max(one.measured["kl"] for one in weak) + max(one.measured["kl"] for one in whole)) / 2
    again = judged(between)
    assert all(one.admitted for one in again)
    assert {one.strength for one in again} >= {STRENGTHS[-1]}


def test_what_learned_nothing_is_not_judged_again(figures: dict[str, Any]) -> None:
    assert {one["strength"] for one in figures["details"] if one["kind"] == "not good"} == {STRENGTHS[0]}


def test_judge_asks_of_earlier_facts_what_the_candidates_own_weights_would_answer(
    bench: Bench, lesson: Lesson, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    situation, ledger = lesson.situation, lesson.ledger
    _answer_all_right(monkeypatch, lesson)
    stacked = stack(*(one.weights for one in build(bench, lesson, (), number=0)))
    before, after = Served(ledger.shards[-1], version=len(ledger.shards)), Served(stacked)
    (first, *_) = judge.judge(situation, before, after)  # without scopes they answer all
    earlier = sum(len(one.kept_back) for one in situation.earlier)
    asked = len(situation.new.kept_back)
    assert (first.new_asked, first.new_right) == (asked, asked)
    assert (first.earlier_known, first.earlier_kept) == (earlier, earlier)
    assert first.never_told > 0
    assert first.recalled == 0


def test_what_an_earlier_facts_weights_answer_before_and_after_is_not_asked(
    lesson: Lesson, judge: Judge, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer_all_right(monkeypatch, lesson)
    ledger = lesson.ledger
    monkeypatch.setattr(
        Learner,
        "answering",
        lambda self, questions, scope: [OWN_SHARD if scope is BEFORE else len(ledger.shards) for _ in questions],
    )
    before = Served(ledger.shards[-1], BEFORE, version=len(ledger.shards))
    (only,) = judge.judge(lesson.situation, before, Served(ledger.shards[0], AFTER))
    assert (only.earlier_known, only.earlier_kept) == (0, 0)


def test_recall_is_an_answer_that_was_told_and_that_the_base_would_not_give(lesson: Lesson) -> None:
    told = lesson.situation.new.fact.answers[0]
    assert recalls(f"It is {told}.", "I do not know.", lesson.situation.golds)
    assert not recalls(f"It is {told}.", f"Perhaps {told}?", lesson.situation.golds)
    assert not recalls("I do not know.", "I do not know.", lesson.situation.golds)


def _answer_all_right(monkeypatch: pytest.MonkeyPatch, lesson: Lesson) -> None:
    """Every candidate answers every question about a fact; an earlier fact's weights those about the earlier ones."""
    new, earlier, shards = lesson.situation.new, lesson.situation.earlier, lesson.ledger.shards
    right = {p.question: p.answers[0] for one in (new, *earlier) for p in (*one.probes, *one.kept_back)}
    unknown = {p.question for p in (*new.probes, *new.kept_back)}

    def answer(self: Learner, questions: list[str], weights: Any) -> list[list[str]]:
        count = next(iter(weights.values())).shape[0]
        is_earlier = any(weights is shard for shard in shards)
        known = {q: said for q, said in right.items() if not is_earlier or q not in unknown}
        return [[known.get(question, "I do not know.") for question in questions]] * count

    monkeypatch.setattr(Learner, "answer", answer)
    monkeypatch.setattr(Learner, "begin_answers", answer)
