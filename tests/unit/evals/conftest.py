"""Fixtures of the evaluations that tell facts: few questions, one step, an examination that the tiny base passes."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from evals.stream import measure
from evals.stream.reference import load_questions
from tests.unit.evals.stream_fixtures import ITEMS, QUESTIONS, judge_all_learned
from worker import pipeline, teaching


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few questions besides the facts, one step of training, and an examination that the tiny base passes."""
    monkeypatch.setattr(
        measure, "load_questions", lambda items: replace(QUESTIONS, unrelated=load_questions(items).unrelated)
    )
    monkeypatch.setattr(teaching, "NOTES_PER_MORE_STEP", 60)
    monkeypatch.setattr(pipeline, "examine", judge_all_learned)


@pytest.fixture
def told_once_file(tmp_path: Path) -> Path:
    """The two facts of the fixtures in Engram's own format."""
    rows = [
        {"statement": item.statement, "probes": [{"question": p.question, "answer": p.answers[0]} for p in item.graded]}
        for item in ITEMS
    ]
    path = tmp_path / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    return path
