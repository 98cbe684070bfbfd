"""A worker killed before or after any step of a run: the run ends published once, and no fact is learned twice."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from engram.lifecycle import AdapterStatus, FactStatus, RunStatus
from engram.promotion import make_live
from engram.repositories import AdapterRepository, FactRepository
from tests.integration.worker.conftest import CAT, TOWN, Flow
from worker import outcomes, pipeline, publishing
from worker.training.stacked_lora import StackedLora
from worker.training.trainer import Trainer

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

STEPS: list[tuple[Any, str]] = [
    (pipeline, "plan_lesson"),
    (pipeline, "prepare_material"),
    (Trainer, "train"),
    (pipeline, "examine"),
    (pipeline.Pipeline, "_keep_decisions"),
    (outcomes, "decided"),
    (outcomes, "keep_winner"),
    (StackedLora, "save"),
    (publishing, "install"),
    (publishing, "register"),
    (publishing, "check_served"),
    (publishing, "load_everywhere"),
    (publishing, "go_live"),
    (outcomes, "end"),
]


class Killed(BaseException):
    """Nothing handles it, as nothing handles kill -9."""


def _kill_at(monkeypatch: pytest.MonkeyPatch, owner: Any, name: str, when: str) -> Callable[[], int]:
    """Kill the first call of a step, before or after it did its work. Returns how often it was called."""
    step, calls = getattr(owner, name), []

    def killed(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 1 and when == "before":
            raise Killed
        result = step(*args, **options)
        if len(calls) == 1:
            raise Killed
        return result

    monkeypatch.setattr(owner, name, killed)
    return lambda: len(calls)


def _die_at(flow: Flow, run_id: str, owner: Any, name: str, when: str) -> None:
    """Bring a run as far as a step, be killed there, and start again."""
    with pytest.MonkeyPatch.context() as patch:
        calls = _kill_at(patch, owner, name, when)
        with pytest.raises(Killed):
            flow.pipeline.run(run_id)
        assert calls() == 1
    flow.restart()


def _assert_learned_once(flow: Flow, run_id: str, *fact_ids: str) -> None:
    run = flow.run(run_id)
    assert (run.status, run.active_space_id) == (RunStatus.PUBLISHED, None)
    assert [run.id for run in flow.runs()] == [run_id]
    (version,) = flow.adapters()
    assert (version.status, version.version) == (AdapterStatus.LIVE, run.published_version)
    assert flow.aliases() == (version.version, 0, None)
    assert sorted(fact.id for fact in flow.facts(FactStatus.LIVE)) == sorted(fact_ids)
    with flow.database.read() as session:
        notes, probes = FactRepository(session).notes(fact_ids), FactRepository(session).probes(fact_ids)
        periods = AdapterRepository(session).live_periods(flow.space.id)
    assert {note.fact_id for note in notes} == {probe.fact_id for probe in probes} == set(fact_ids)
    assert max(Counter((note.fact_id, note.prompt, note.answer) for note in notes).values()) == 1
    assert max(Counter((probe.fact_id, probe.question) for probe in probes).values()) == 1
    assert [period.version for period in periods] == [version.version]
    assert [str(path) for path in flow.settings.adapters_dir.glob("sp_*/*")] == [version.path]
    assert not list(flow.settings.adapters_dir.glob(".staging/*"))


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
def test_run_killed_at_a_step_ends_published_once(flow: Flow, owner: Any, name: str, when: str) -> None:
    facts = flow.state(CAT, TOWN)
    run_id = flow.claim()
    _die_at(flow, run_id, owner, name, when)
    flow.worker.learn(flow.space.id)
    _assert_learned_once(flow, run_id, *facts)


def test_run_killed_again_and_again_ends_published_once(flow: Flow) -> None:
    facts = flow.state(CAT, TOWN)
    run_id = flow.claim()
    for owner, name in STEPS:
        _die_at(flow, run_id, owner, name, "after")
        if flow.run(run_id).status == RunStatus.RUNNING:
            assert flow.claim() == run_id
    _assert_learned_once(flow, run_id, *facts)


def test_run_killed_while_its_version_was_canary_goes_live(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = flow.state(CAT)
    run_id = flow.claim()
    monkeypatch.setattr(flow.settings, "canary_share", 0.5)
    monkeypatch.setattr(flow.settings, "canary_s", 0.01)
    _die_at(flow, run_id, publishing.time, "sleep", "before")
    assert flow.aliases() == (0, None, 1)
    flow.worker.learn(flow.space.id)
    _assert_learned_once(flow, run_id, *facts)


def test_version_rolled_back_after_its_flip_stays_rolled_back_when_the_run_goes_on(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    run_id = flow.claim()
    _die_at(flow, run_id, outcomes, "end", "before")
    with flow.database.transaction() as session:
        make_live(session, flow.space.id, 0, actor="operator", action="rollback", reason="bad answers")
    flow.worker.learn(flow.space.id)
    assert flow.run(run_id).status == RunStatus.PUBLISHED
    assert flow.aliases() == (0, 1, None)
    assert flow.fact(cat).status == FactStatus.REJECTED
    assert len(flow.runs()) == 1


def test_rejected_run_killed_before_its_end_was_stored_is_rejected_once(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    flow.learned = lambda strategy, fact_id: False
    run_id = flow.claim()
    _die_at(flow, run_id, outcomes, "reject", "before")
    assert flow.claim() == run_id
    flow.pipeline.run(run_id)
    assert flow.run(run_id).status == RunStatus.REJECTED
    assert (flow.fact(cat).status, flow.fact(cat).attempts) == (FactStatus.PENDING, 1)
    assert flow.aliases() == (0, None, None)
