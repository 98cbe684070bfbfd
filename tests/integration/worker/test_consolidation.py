"""Consolidation: all that is live is trained once more from the base, and published only if nothing is lost."""

from datetime import timedelta
from pathlib import Path

import pytest
import torch

from engram.gate import GatePolicy, ProbeKind, ProbeReport, SliceScore, decide
from engram.lifecycle import FactStatus, RunKind, RunStatus
from engram.models.base import utc_now
from engram.repositories import ChatRepository, RunRepository
from engram.repositories.runs import GAVE_WAY
from tests.integration.worker.conftest import CAT, NEW_TOWN, TOWN, Flow
from worker import pipeline, recovery
from worker.learner import Learner
from worker.probing import Examination, Examined
from worker.served import Served
from worker.training.stacked_lora import Weights
from worker.training.trainer import Trainer


def _consolidate(flow: Flow) -> str:
    with flow.database.transaction() as session:
        run = RunRepository(session).queue(flow.space.id, [], kind=RunKind.CONSOLIDATE)
    flow.worker.learn(flow.space.id)
    return run.id


def _learn_one_after_another(flow: Flow) -> None:
    for fact in (CAT, TOWN):
        flow.state(fact)
        assert flow.learn().status == RunStatus.PUBLISHED


def test_consolidation_trains_from_the_base_on_every_live_fact(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    _learn_one_after_another(flow)
    seen: dict[str, object] = {}
    train = Trainer.train

    def watched(trainer: Trainer, initial: Weights, candidates: list[object], **options: object) -> Weights:
        seen.update(initial=initial, candidates=candidates)
        return train(trainer, initial, candidates, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train", watched)
    _consolidate(flow)
    assert all(not weight.any() for name, weight in seen["initial"].items() if name.endswith(".B"))  # type: ignore[attr-defined]
    notes = {note["fact_id"] for candidate in _candidates(flow) for note in candidate.notes}
    assert notes == {fact.id for fact in flow.facts(FactStatus.LIVE)}
    assert len(notes) == 2
    assert [version.version for version in flow.adapters()] == [1, 2, 3]
    assert flow.aliases() == (3, 2, None)


def _candidates(flow: Flow) -> list[object]:
    with flow.database.read() as session:
        return list(RunRepository(session).candidates(flow.runs()[-1].id))


def test_consolidated_candidates_are_compared_with_the_live_version_on_all_probes(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    _learn_one_after_another(flow)
    seen: list[tuple[Served, Examination]] = []

    def watched(learner: Learner, live: Served, trained: Served, examination: Examination) -> list[Examined]:
        seen.append((live, examination))
        return flow.judge(learner, live, trained, examination)

    monkeypatch.setattr(pipeline, "examine", watched)
    _consolidate(flow)
    live, examination = seen[-1]
    held = flow.pipeline.learner.lora.load(Path(flow.adapters()[1].path))
    assert all(torch.equal(live.weights[name], weight) for name, weight in held.items())
    assert not examination.new
    assert len(examination.earlier) == len(CAT.probes) + len(TOWN.probes)


def test_gate_admits_what_keeps_all_and_rejects_what_loses_more_than_one() -> None:
    policy = GatePolicy(teaches=False, max_retention_loss=0.0)
    for right, admitted in ((20, True), (19, True), (18, False)):
        report = ProbeReport({ProbeKind.RETENTION: SliceScore(24, right, live_right=20)})
        assert decide(report, policy=policy).admitted == admitted


@pytest.mark.parametrize(
    ("after_runs", "said_ago_s", "wanted"), [(2, 600, True), (2, 5, False), (3, 600, False), (0, 600, False)]
)
def test_idle_space_that_learned_enough_is_consolidated_by_itself(
    flow: Flow, after_runs: int, said_ago_s: int, wanted: bool
) -> None:
    _learn_one_after_another(flow)
    with flow.database.transaction() as session:
        chat = ChatRepository(session)
        message = chat.add_message(chat.add_conversation(flow.space.id, "x"), role="user", content="Hi", extract=False)
        message.created_at = utc_now() - timedelta(seconds=said_ago_s)
    settings = flow.worker.settings.model_copy(
        update={"consolidate_after_runs": after_runs, "consolidate_idle_s": 60.0}
    )
    assert recovery.to_consolidate(flow.database, settings) == ([flow.space.id] if wanted else [])


def test_space_is_not_consolidated_twice_for_the_same_runs(flow: Flow) -> None:
    _learn_one_after_another(flow)
    settings = flow.worker.settings.model_copy(update={"consolidate_after_runs": 2, "consolidate_idle_s": 0.0})
    assert recovery.to_consolidate(flow.database, settings) == [flow.space.id]
    _consolidate(flow)
    assert recovery.to_consolidate(flow.database, settings) == []


def test_consolidation_gives_way_to_a_fact_stated_meanwhile_and_is_due_again(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    _learn_one_after_another(flow)
    train = Trainer.train

    def state_one_meanwhile(trainer: Trainer, *args: object, **options: object) -> object:
        if not flow.facts(FactStatus.PENDING, FactStatus.LEARNING):
            flow.state(NEW_TOWN)
        return train(trainer, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train", state_one_meanwhile)
    _consolidate(flow)
    assert [(run.kind, run.status, run.error) for run in flow.runs()[2:]] == [
        (RunKind.CONSOLIDATE, RunStatus.REJECTED, GAVE_WAY),
        (RunKind.LEARN, RunStatus.PUBLISHED, None),
    ]
    settings = flow.worker.settings.model_copy(update={"consolidate_after_runs": 2, "consolidate_idle_s": 0.0})
    assert recovery.to_consolidate(flow.database, settings) == [flow.space.id]
