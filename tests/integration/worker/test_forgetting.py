"""A deleted fact leaves the weights: rebuilt without it, or the base serves. It ends, and nothing runs for ever."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from sqlalchemy import select

from engram.forgetting import forget
from engram.lifecycle import AdapterStatus, FactStatus, RunKind, RunStatus
from engram.models import Message
from engram.promotion import make_live
from engram.repositories import AdapterRepository, ChatRepository, FactRepository, RunRepository
from tests.integration.worker.conftest import CAT, TOWN, Flow
from worker import proof, publishing
from worker.self_edits import HeldOut
from worker.served import Served
from worker.training.trainer import Trainer


def _assert_forgotten(flow: Flow, fact_id: str) -> None:
    fact = flow.fact(fact_id)
    assert (fact.status, fact.statement, fact.reason) == (FactStatus.FORGOTTEN, "", "deleted by alice")
    with flow.database.read() as session:
        facts = FactRepository(session)
        assert facts.notes([fact_id]) == facts.probes([fact_id]) == []


def test_weights_are_rebuilt_without_a_deleted_fact_and_versions_that_hold_it_withdrawn(flow: Flow) -> None:
    cat, town = flow.state(CAT, TOWN)
    flow.worker.learn(flow.space.id)
    flow.delete(cat)
    flow.worker.learn(flow.space.id)
    _assert_forgotten(flow, cat)
    assert [(run.kind, run.status) for run in flow.runs()][1:] == [(RunKind.REBUILD, RunStatus.PUBLISHED)]
    assert [version.status for version in flow.adapters()] == [AdapterStatus.WITHDRAWN, AdapterStatus.LIVE]
    assert flow.aliases() == (2, None, None)
    assert flow.fact(town).status == FactStatus.LIVE
    with flow.database.read() as session:
        assert {note.fact_id for note in FactRepository(session).notes([cat, town])} == {town}


def test_what_was_said_of_a_deleted_fact_and_the_files_that_hold_it_are_erased(flow: Flow) -> None:
    cat, town = flow.state(CAT, TOWN)
    with flow.database.transaction() as session:
        chats, facts = ChatRepository(session), FactRepository(session)
        conversation = chats.add_conversation(flow.space.id, "tail")
        said = chats.add_message(conversation, role="user", content=f"{CAT.statement} {TOWN.statement}", extract=False)
        chats.add_message(conversation, role="assistant", content="Biscuit is a lovely name.")
        chats.add_message(conversation, role="user", content="How is the weather?", extract=False)
        for fact in facts.by_ids([cat, town]):
            fact.message_id, fact.span_start, fact.span_end = said.id, 0, 5
        ids = [message.id for message in session.scalars(select(Message).order_by(Message.id))]
    flow.worker.learn(flow.space.id)
    first = Path(flow.adapters()[0].path)
    assert first.exists()
    flow.delete(cat)
    flow.worker.learn(flow.space.id)
    with flow.database.read() as session:
        assert [session.get_one(Message, each).content for each in ids] == ["", "", "How is the weather?"]
        everything = [c for run in flow.runs() for c in RunRepository(session).candidates(run.id)]
        assert not any("Biscuit" in str([candidate.notes, candidate.report]) for candidate in everything)
    assert (flow.fact(town).statement, flow.fact(town).span_start) == (TOWN.statement, None)
    assert not first.exists()
    assert Path(flow.adapters()[1].path).exists()


def test_answers_that_give_a_refused_fact_away_are_erased_with_it(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    flow.learned = lambda strategy, fact_id: False
    run = flow.learn()
    never_told = {"kind": "false_recall", "question": "Who lives next door?", "answers": [], "right": False}
    with flow.database.transaction() as session:
        assert FactRepository(session).probes([cat]) == []
        for candidate in RunRepository(session).candidates(run.id):
            told = {**never_told, "answer": "It is Biscuit.", "fact_id": None}
            candidate.report = {**candidate.report, "asked": [*candidate.report["asked"], told]}
    flow.delete(cat)
    flow.worker.learn(flow.space.id)
    _assert_forgotten(flow, cat)
    with flow.database.read() as session:
        reports = [candidate.report for candidate in RunRepository(session).candidates(run.id)]
    assert [item["question"] for report in reports for item in report["asked"]] == [never_told["question"]] * 3
    assert "Biscuit" not in str(reports)


@pytest.mark.parametrize("published", [True, False])
def test_proof_of_forgetting_is_kept_with_the_fact(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, published: bool
) -> None:
    cat, _town = flow.state(CAT, TOWN)
    flow.worker.learn(flow.space.id)
    live = flow.pipeline.learner.lora.load(Path(flow.adapters()[0].path))
    name = next(iter(live))

    def recall(_learner: object, probes: Sequence[HeldOut], version: Served | None) -> Counter[str]:
        held_it = version is not None and torch.equal(version.weights[name], live[name])
        return Counter({cat: len(probes) if held_it else 1})

    monkeypatch.setattr(proof, "recall", recall)
    flow.delete(cat)
    if not published:
        flow.learned = lambda strategy, fact_id: False
    flow.learn()
    rebuild = flow.runs()[1]
    assert flow.fact(cat).forgetting_proof == {
        "run": rebuild.id,
        "probes": 2,
        "recalled_before": 2,
        "recalled_after": 0 if published else 1,
        "recalled_by_base": 1,
    }


def test_with_nothing_left_to_know_the_base_serves_again(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    flow.worker.learn(flow.space.id)
    flow.delete(cat)
    flow.worker.learn(flow.space.id)
    _assert_forgotten(flow, cat)
    assert flow.aliases() == (0, None, None)
    assert [version.status for version in flow.adapters()] == [AdapterStatus.WITHDRAWN]
    assert len(flow.runs()) == 2


@pytest.mark.parametrize("failure", ["gate", "engine", "error"])
def test_rebuild_that_publishes_nothing_forgets_all_the_same_and_learns_the_rest_again(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    cat, town = flow.state(CAT, TOWN)
    flow.worker.learn(flow.space.id)
    flow.delete(cat)
    if failure == "gate":
        flow.learned = lambda strategy, fact_id: False
    elif failure == "engine":
        flow.engine.faults.refuse_loads = True
    else:
        monkeypatch.setattr(Trainer, "train", lambda *_args, **_options: 1 / 0)
    for _ in range(3):  # a broken run is tried three times
        if flow.fact(cat).status == FactStatus.FORGETTING:
            flow.learn()
    _assert_forgotten(flow, cat)
    assert flow.aliases() == (0, None, None)
    assert (flow.fact(town).status, flow.fact(town).attempts) == (FactStatus.PENDING, 0)


def test_fact_deleted_while_it_was_learned_is_forgotten_after_that_run(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat, town = flow.state(CAT, TOWN)
    train = Trainer.train

    def train_and_delete(trainer: Trainer, *args: object, **options: object) -> object:
        if flow.fact(cat).status == FactStatus.LEARNING:
            flow.delete(cat)
        return train(trainer, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train", train_and_delete)
    flow.worker.learn(flow.space.id)
    _assert_forgotten(flow, cat)
    assert flow.fact(town).status == FactStatus.LIVE
    assert [run.status for run in flow.runs()] == [RunStatus.PUBLISHED] * 2


def test_rollback_to_weights_without_the_fact_forgets_it_at_once(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    flow.worker.learn(flow.space.id)
    flow.delete(cat)
    with flow.database.transaction() as session:
        make_live(session, flow.space.id, 0, actor="operator", action="rollback", reason="privacy")
    _assert_forgotten(flow, cat)
    assert flow.worker._claim_next(flow.space.id) is None


def test_rebuild_that_another_version_overtook_is_made_anew_and_nothing_else_is_lost(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow.settings, "facts_per_shard", 1)
    (cat,) = flow.state(CAT)
    assert flow.learn().status == RunStatus.PUBLISHED
    (town,) = flow.state(TOWN)
    assert flow.learn().status == RunStatus.PUBLISHED
    flow.delete(cat)
    load = publishing.load_everywhere

    def load_and_roll_back(*args: Any, **options: Any) -> None:
        load(*args, **options)
        with flow.database.transaction() as session:
            make_live(session, flow.space.id, 1, actor="operator", action="rollback", reason="to look")
        monkeypatch.setattr(publishing, "load_everywhere", load)

    monkeypatch.setattr(publishing, "load_everywhere", load_and_roll_back)
    assert flow.learn().status == RunStatus.REJECTED
    assert flow.fact(cat).status == FactStatus.FORGETTING
    assert flow.fact(town).status == FactStatus.REJECTED  # by the rollback, not by the rebuild
    flow.worker.learn(flow.space.id)
    _assert_forgotten(flow, cat)


@pytest.mark.parametrize("when", ["trained", "registered"])
def test_version_that_was_trained_on_what_is_erased_meanwhile_is_never_served(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    (cat,) = flow.state(CAT)
    assert flow.learn().status == RunStatus.PUBLISHED
    (town,) = flow.state(TOWN)
    step = "register" if when == "trained" else "load_everywhere"
    act = getattr(publishing, step)

    def erase_and_act(*args: Any, **options: Any) -> Any:
        monkeypatch.setattr(publishing, step, act)
        flow.delete(cat)
        with flow.database.transaction() as session:
            make_live(session, flow.space.id, 0, actor="operator", action="rollback", reason="privacy")
        return act(*args, **options)

    monkeypatch.setattr(publishing, step, erase_and_act)
    flow.worker.learn(flow.space.id)
    _assert_forgotten(flow, cat)
    assert flow.fact(town).status == FactStatus.LIVE
    with flow.database.read() as session:
        adapters = AdapterRepository(session)
        holding = adapters.holding(cat)
        assert {version.status for version in holding} == {AdapterStatus.WITHDRAWN}
        assert "Biscuit" not in str(
            [c.report for run in flow.runs() for c in RunRepository(session).candidates(run.id)]
        )
    assert not [version for version in holding if Path(version.path).exists()]


def test_fact_is_forgotten_once(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    flow.worker.learn(flow.space.id)
    flow.delete(cat)
    with flow.database.transaction() as session:
        (fact,) = FactRepository(session).by_ids([cat])
        assert not forget(session, flow.space, fact, reason="deleted by bob")
    flow.worker.learn(flow.space.id)
    _assert_forgotten(flow, cat)
