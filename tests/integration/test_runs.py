"""Learning runs on SQLite and PostgreSQL: one a space, claimed once, taken over when stale."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from sqlalchemy.exc import IntegrityError

from engram.db import Database
from engram.errors import Conflict, NotFound
from engram.ids import new_id
from engram.lifecycle import RunStatus
from engram.models import Candidate, LearningRun, Space
from engram.models.base import utc_now
from engram.repositories import FactRepository, RunRepository, SpaceRepository

STALE_AFTER = timedelta(seconds=30)


def _queue(database: Database, space: Space) -> str:
    with database.transaction() as session:
        return RunRepository(session).queue(space.id, []).id


def _claim(database: Database, run_id: str) -> bool:
    with database.transaction() as session:
        return RunRepository(session).claim(run_id, stale_before=utc_now() - STALE_AFTER)


def _run(database: Database, run_id: str) -> LearningRun:
    with database.read() as session:
        return RunRepository(session).by_id(run_id)


def test_a_space_has_one_unfinished_run(database: Database, space: Space) -> None:
    _queue(database, space)
    with pytest.raises(IntegrityError):
        _queue(database, space)


def test_a_finished_run_frees_its_space(database: Database, space: Space) -> None:
    run_id = _queue(database, space)
    assert _claim(database, run_id)
    with database.transaction() as session:
        runs = RunRepository(session)
        runs.finish(runs.by_id(run_id), to=RunStatus.REJECTED, error="no candidate passed the gate")
    second = _queue(database, space)
    with database.read() as session:
        active = RunRepository(session).active(space.id)
        assert active is not None
        assert active.id == second
        assert [run.id for run in RunRepository(session).unfinished()] == [second]
    first = _run(database, run_id)
    assert first.finished_at is not None
    assert first.error == "no candidate passed the gate"


def test_another_space_may_learn_at_the_same_time(database: Database, space: Space) -> None:
    _queue(database, space)
    with database.transaction() as session:
        other = SpaceRepository(session).get_or_create("local", "bob")
    _queue(database, other)
    with database.read() as session:
        assert len(RunRepository(session).unfinished()) == 2


def test_two_workers_that_claim_at_once_do_not_both_get_the_run(database: Database, space: Space) -> None:
    run_id = _queue(database, space)
    barrier = Barrier(2)

    def claim(_: int) -> bool:
        barrier.wait()
        return _claim(database, run_id)

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(claim, range(2))) == [False, True]
    run = _run(database, run_id)
    assert (run.status, run.attempts) == (RunStatus.RUNNING, 1)


def test_a_run_with_a_heartbeat_is_not_taken_over(database: Database, space: Space) -> None:
    run_id = _queue(database, space)
    assert _claim(database, run_id)
    with database.transaction() as session:
        RunRepository(session).by_id(run_id).heartbeat_at = utc_now() - STALE_AFTER * 2
    with database.transaction() as session:
        RunRepository(session).heartbeat(run_id)
    assert not _claim(database, run_id)


def test_a_run_without_heartbeat_is_taken_over_and_keeps_its_start(database: Database, space: Space) -> None:
    run_id = _queue(database, space)
    assert _claim(database, run_id)
    started_at = _run(database, run_id).started_at
    with database.transaction() as session:
        RunRepository(session).by_id(run_id).heartbeat_at = utc_now() - STALE_AFTER * 2
    assert _claim(database, run_id)
    run = _run(database, run_id)
    assert run.attempts == 2
    assert run.started_at == started_at


def test_a_finished_run_is_never_claimed_nor_touched(database: Database, space: Space) -> None:
    run_id = _queue(database, space)
    with database.transaction() as session:
        runs = RunRepository(session)
        runs.finish(runs.by_id(run_id), to=RunStatus.FAILED, error="no probe")
    assert not _claim(database, run_id)
    run = _run(database, run_id)
    assert (run.status, run.started_at, run.attempts) == (RunStatus.FAILED, None, 0)


def test_a_run_ends_once(database: Database, space: Space) -> None:
    run_id = _queue(database, space)
    assert _claim(database, run_id)
    with database.transaction() as session:
        runs = RunRepository(session)
        runs.finish(runs.by_id(run_id), to=RunStatus.PUBLISHED)
    with database.transaction() as session:
        runs = RunRepository(session)
        with pytest.raises(Conflict):
            runs.finish(runs.by_id(run_id), to=RunStatus.FAILED)


def test_a_run_is_not_found_by_another_tenant(database: Database, space: Space) -> None:
    run_id = _queue(database, space)
    with database.read() as session:
        assert RunRepository(session).get("local", run_id).id == run_id
        with pytest.raises(NotFound):
            RunRepository(session).get("acme", run_id)


def test_a_page_of_runs_shows_the_asked_spaces_and_status(database: Database, space: Space) -> None:
    run_id = _queue(database, space)
    with database.transaction() as session:
        other = SpaceRepository(session).get_or_create("local", "bob")
    _queue(database, other)
    with database.read() as session:
        runs = RunRepository(session)
        assert [run.id for run in runs.page([space.id], status=None, limit=9, cursor=None).rows] == [run_id]
        assert len(runs.page([space.id, other.id], status="queued", limit=9, cursor=None).rows) == 2
        assert runs.page([space.id], status="published", limit=9, cursor=None).rows == []


def test_events_are_read_in_order_after_a_cursor(database: Database, space: Space) -> None:
    run_id = _queue(database, space)
    with database.transaction() as session:
        for number in range(5):
            RunRepository(session).add_event(run_id, "stage", {"number": number})
    with database.read() as session:
        events = RunRepository(session).events_after(run_id)
        assert [event.data["number"] for event in events] == [0, 1, 2, 3, 4]
        later = RunRepository(session).events_after(run_id, events[2].id)
        assert [event.data["number"] for event in later] == [3, 4]


def test_candidates_of_an_earlier_attempt_are_replaced(database: Database, space: Space) -> None:
    run_id = _queue(database, space)

    def candidate(index: int, strategy: str) -> Candidate:
        return Candidate(id=new_id("cand"), run_id=run_id, index=index, strategy=strategy, notes=[], settings={})

    with database.transaction() as session:
        RunRepository(session).replace_candidates(run_id, [candidate(0, "rewrites")])
    with database.transaction() as session:
        RunRepository(session).replace_candidates(run_id, [candidate(1, "implications"), candidate(0, "questions")])
    with database.read() as session:
        strategies = [found.strategy for found in RunRepository(session).candidates(run_id)]
    assert strategies == ["questions", "implications"]


def test_a_run_knows_its_facts_and_replaces_their_notes_only(database: Database, space: Space) -> None:
    with database.transaction() as session:
        facts, runs = FactRepository(session), RunRepository(session)
        mine, other = facts.add(space.id, "I sing."), facts.add(space.id, "I dance.")
        run = runs.queue(space.id, [mine.id])
        assert runs.fact_ids(run.id) == [mine.id]
        row = {"family": "rewrite", "prompt": "Do I sing?", "answer": "Yes."}
        facts.replace_notes(run.id, [{"fact_id": mine.id, **row}, {"fact_id": other.id, **row}])
        facts.replace_notes(run.id, [{"fact_id": mine.id, **row, "answer": "You do."}])
        session.flush()
        assert [note.answer for note in facts.notes([mine.id, other.id])] == ["Yes.", "You do."]
