"""Beside its weights a version keeps what it was taught to answer: of every fact that it holds, and of no other."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engram.lifecycle import FactStatus
from engram.repositories import FactRepository
from scope import decision
from scope.decision import Vectors
from scope.encoder import SentenceEncoder, open_encoder
from tests.integration.worker.conftest import CAT, NEW_TOWN, TOWN, Flow
from worker import self_edits
from worker.author import tasks
from worker.training.rows import Row
from worker.training.stacked_lora import Weights
from worker.training.steps import CandidateRows
from worker.training.trainer import Trainer

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def _prompts(flow: Flow, fact_id: str) -> list[str]:
    """What the fact's stored notes ask."""
    with flow.database.read() as session:
        return [note.prompt for note in FactRepository(session).notes([fact_id])]


def _taught(flow: Flow, version: int, prompts: list[str]) -> list[bool]:
    """Of each prompt, whether the version's scope holds it."""
    scope = decision.load(Path(flow.adapters()[version - 1].path))
    assert scope is not None
    nearest = (open_encoder().encode(prompts) @ scope.told_ND.T).max(axis=1)
    return [bool(one) for one in np.isclose(nearest, 1, atol=1e-3)]


def test_each_version_covers_the_notes_of_all_that_it_holds(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    flow.learn()
    (town,) = flow.state(TOWN)
    flow.learn()
    assert _prompts(flow, cat)
    assert all(_taught(flow, 1, _prompts(flow, cat)))
    assert not any(_taught(flow, 1, _prompts(flow, town)))
    assert all(_taught(flow, 2, [*_prompts(flow, cat), *_prompts(flow, town)]))


def test_wordings_are_kept_and_covered_but_not_studied(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    unanswered = "Which animal purrs in my house?"
    known = CAT.questions[0]
    flow.author.outputs = {
        (tasks.QA, tasks.ask_questions(CAT.statement, known.answer)): tasks.write_questions(
            known.reply, [known.question, *(probe.question for probe in CAT.probes), unanswered]
        )
    }
    studied: list[Row] = []
    train = Trainer.train

    def watched(self: Trainer, initial: Weights, candidates: Sequence[CandidateRows], **more: Any) -> Weights:
        studied.extend(row for one in candidates for row in one.notes)
        return train(self, initial, candidates, **more)

    monkeypatch.setattr(Trainer, "train", watched)
    monkeypatch.setattr(self_edits, "_FEWEST_ASKED", 1)  # as where many questions have the one reply
    (cat,) = flow.state(CAT)
    flow.learn()
    flow.state(TOWN)
    flow.learn()
    rows = flow.pipeline.learner.rows
    assert unanswered in _prompts(flow, cat)
    assert _taught(flow, 1, [unanswered]) == _taught(flow, 2, [unanswered]) == [True]
    prompts = {row.prompt for row in studied}
    assert rows.prompt(known.question) in prompts
    assert rows.prompt(unanswered) not in prompts


def test_what_an_earlier_version_was_asked_is_not_read_again(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    (cat,) = flow.state(CAT)
    flow.learn()
    open_encoder()._kept.clear()  # as after a restart
    read: list[str] = []
    encode_once = SentenceEncoder.encode_once

    def watched(self: SentenceEncoder, texts: Sequence[str]) -> Vectors:
        read.extend(texts)
        return encode_once(self, texts)

    monkeypatch.setattr(SentenceEncoder, "encode_once", watched)
    (town,) = flow.state(TOWN)
    flow.learn()
    known = set(_prompts(flow, cat))
    assert known
    assert not known & set(read)
    assert set(_prompts(flow, town)) <= set(read)
    assert all(_taught(flow, 2, list(known)))


def test_what_was_replaced_or_forgotten_is_no_longer_covered(flow: Flow) -> None:
    (old,) = flow.state(TOWN)
    flow.learn()
    replaced = _prompts(flow, old)
    (new,) = flow.state(NEW_TOWN)
    flow.learn()
    assert flow.fact(old).status == FactStatus.SUPERSEDED
    only_old = [prompt for prompt in replaced if prompt not in _prompts(flow, new)]
    assert not any(_taught(flow, 2, only_old))
    assert all(_taught(flow, 2, _prompts(flow, new)))
