"""The base's answers to the anchors: kept on disk whole, never mixed up with another base's."""

import calendar
import json
from pathlib import Path
from typing import Any

import pytest

from engram.similarity import content_words, is_near_copy
from worker.author.dataset import load_examples
from worker.learner import BASE_ANSWER_TOKENS
from worker.training.anchors import (
    ANCHORS_DIR,
    SHIPPED_ANSWERS,
    AnswerCache,
    is_told,
    load_prompts,
    shipped_answers,
    write_answers,
)
from worker.training.rows import ChatRows

_DAYS = {day.lower() for day in calendar.day_name}

EVALUATION = Path(__file__).parents[3] / "evals" / "data"


def _cache(folder: Path, base: str = "tiny") -> AnswerCache:
    return AnswerCache(folder, base_path=base, max_tokens=8)


def test_answers_are_there_for_the_next_process(tmp_path: Path, rows: ChatRows) -> None:
    _cache(tmp_path).add({"Hi": [5, 6]})
    later = _cache(tmp_path)
    assert later.missing(["Hi", "Bye"]) == ["Bye"]
    row = later.row("Hi", rows)
    assert (row.prompt, row.answer) == (rows.prompt("Hi"), (5, 6))


def test_another_base_or_answer_length_has_answers_of_its_own(tmp_path: Path) -> None:
    _cache(tmp_path).add({"Hi": [5]})
    assert _cache(tmp_path, "other").missing(["Hi"]) == ["Hi"]
    assert AnswerCache(tmp_path, base_path="tiny", max_tokens=9).missing(["Hi"]) == ["Hi"]


def test_what_is_shipped_is_not_asked_for_and_what_else_the_base_said_stands_beside_it(tmp_path: Path) -> None:
    shipped = {"Hi": [7]}
    _cache(tmp_path).add({"Hi": [5], "Bye": [6]})
    cache = AnswerCache(tmp_path, base_path="tiny", max_tokens=8, shipped=shipped)
    assert cache.missing(["Hi", "Bye", "Why?"]) == ["Why?"]
    assert cache.answers == {"Hi": [7], "Bye": [6]}


def test_every_prompt_ships_with_an_answer_of_the_length_that_is_used() -> None:
    answers = shipped_answers()
    assert set(answers) == set(load_prompts().answered), "run `engram base-answers`"
    assert max(map(len, answers.values())) == BASE_ANSWER_TOKENS


def test_shipped_answers_are_read_as_they_were_written(tmp_path: Path) -> None:
    answers = {"Où est Zoë?": [3, 4], "Hi": [5]}
    write_answers(answers, tmp_path / "answers.jsonl")
    assert shipped_answers(tmp_path / "answers.jsonl") == answers


def test_write_cut_off_in_the_middle_leaves_the_old_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = _cache(tmp_path)
    cache.add({"Hi": [5]})
    write = Path.write_text

    def cut_off(path: Path, text: str, **options: Any) -> int:
        write(path, text[: len(text) // 2], **options)
        raise OSError("no space left on device")

    monkeypatch.setattr(Path, "write_text", cut_off)
    with pytest.raises(OSError, match="no space"):
        cache.add({"Bye": [6]})
    assert json.loads(cache.path.read_text()) == {"Hi": [5]}
    assert _cache(tmp_path).missing(["Hi"]) == []


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("What is my hamster's name?", True),
        ("Where does my sister live?", False),  # everybody lives somewhere
        ("Where do I live?", True),  # about nothing but that
        ("What is it?", False),
    ],
)
def test_question_is_told_if_a_word_that_says_what_it_is_about_was_said(question: str, told: bool) -> None:
    assert is_told(question, content_words("I bought two hamsters and live in Bergen.")) is told


def test_shipped_prompts_load_and_what_examines_is_never_trained_on() -> None:
    prompts = load_prompts()
    examined = {*prompts.held_out, *prompts.never_told, *(control.question for control in prompts.controls)}
    assert min(len(prompts.train), len(prompts.held_out), len(prompts.controls), len(prompts.never_told)) >= 16
    assert prompts.personal < set(prompts.train)
    assert not examined & set(prompts.train)
    assert all(control.answers for control in prompts.controls)


def test_nothing_that_evaluations_ask_is_an_anchor_or_examines_candidates() -> None:
    prompts = load_prompts()
    ours = [*prompts.train, *prompts.held_out, *prompts.never_told, *(c.question for c in prompts.controls)]
    files = ("controls.jsonl", "unrelated_prompts.jsonl", "false_recall.jsonl")
    rows = [json.loads(line) for name in files for line in (EVALUATION / name).read_text().splitlines()]
    theirs = [row.get("question") or row["prompt"] for row in rows]
    theirs += [probe["question"] for row in _updates() for probe in row["probes"]]
    assert [(mine, other) for mine in ours for other in theirs if is_near_copy(mine, other)] == []


def test_no_value_of_an_update_stands_in_an_anchor() -> None:
    files = set(ANCHORS_DIR.glob("*.jsonl")) - {SHIPPED_ANSWERS}  # tokens, not text
    anchors = {file.name: file.read_text().lower() for file in files}
    values = {probe[when].lower() for row in _updates() for probe in row["probes"] for when in ("before", "after")}
    assert [(name, v) for name, text in anchors.items() for v in values - _DAYS if v in text] == []


def _updates() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (EVALUATION / "updates.jsonl").read_text().splitlines()]


def test_personal_anchors_include_questions_about_other_users_facts() -> None:
    prompts = load_prompts()
    shipped = {json.loads(line)["prompt"] for line in (ANCHORS_DIR / "prompts.jsonl").read_text().splitlines() if line}
    asked_by_others = {
        question
        for example in load_examples()
        for fact in example["facts"]
        for detail in fact.get("details", [])
        for question in detail["questions"]
    }
    from_others = set(prompts.train) - shipped
    assert len(from_others) >= 16
    assert from_others <= prompts.personal & asked_by_others
