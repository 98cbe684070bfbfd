"""Moving the live alias on SQLite and PostgreSQL: aliases, facts, periods and audit change together."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from sqlalchemy import select

from engram.db import Database
from engram.errors import Conflict, NotFound
from engram.lifecycle import AdapterStatus, FactStatus, advance_fact
from engram.models import AuditEvent, Fact, LivePeriod, Space
from engram.promotion import make_live
from engram.repositories import AdapterRepository, FactRepository, SpaceRepository
from tests.builders import adapter_version, learning_fact


def _move(database: Database, space: Space, version: int, *, action: str = "publish", reason: str = "tested") -> Space:
    with database.transaction() as session:
        return make_live(session, space.id, version, actor="ann", action=action, reason=reason)


def _facts(database: Database, space: Space) -> dict[str, Fact]:
    with database.read() as session:
        return {fact.statement: fact for fact in FactRepository(session).with_status(space.id, *FactStatus)}


def _status(database: Database, space: Space, version: int) -> str:
    with database.read() as session:
        return AdapterRepository(session).get(space.id, version).status


def _periods(database: Database, space: Space) -> list[LivePeriod]:
    with database.read() as session:
        return AdapterRepository(session).live_periods(space.id)


@pytest.fixture
def two_versions(database: Database, space: Space) -> None:
    """Version 1 holds one fact; version 2 holds that and another. Neither is live yet."""
    with database.transaction() as session:
        cat, job = (learning_fact(session, space, text) for text in ("My cat is Biscuit.", "I am a vet."))
        adapter_version(session, space, fact_ids=[cat.id])
        adapter_version(session, space, fact_ids=[cat.id, job.id])


@pytest.mark.usefixtures("two_versions")
def test_publishing_makes_the_version_and_its_facts_live(database: Database, space: Space) -> None:
    moved = _move(database, space, 1)
    assert (moved.live_version, moved.previous_version) == (1, 0)
    assert _status(database, space, 1) == AdapterStatus.LIVE
    facts = _facts(database, space)
    assert facts["My cat is Biscuit."].status == FactStatus.LIVE
    assert facts["My cat is Biscuit."].live_since_version == 1
    assert facts["I am a vet."].status == FactStatus.LEARNING


@pytest.mark.usefixtures("two_versions")
def test_a_fact_keeps_the_version_it_is_live_since(database: Database, space: Space) -> None:
    _move(database, space, 1)
    _move(database, space, 2)
    facts = _facts(database, space)
    assert facts["My cat is Biscuit."].live_since_version == 1
    assert facts["I am a vet."].live_since_version == 2
    assert _status(database, space, 1) == AdapterStatus.RETIRED


@pytest.mark.usefixtures("two_versions")
def test_a_fact_that_waits_to_be_learned_again_is_live_where_a_version_that_holds_it_goes_live(
    database: Database, space: Space
) -> None:
    _move(database, space, 2)
    _move(database, space, 1, action="rollback")
    with database.transaction() as session:
        (job,) = FactRepository(session).with_status(space.id, FactStatus.REJECTED)
        advance_fact(job, to=FactStatus.PENDING)
    _move(database, space, 2, action="promote")
    assert _facts(database, space)["I am a vet."].status == FactStatus.LIVE


@pytest.mark.usefixtures("two_versions")
def test_rolling_back_to_the_base_takes_every_fact_out_and_says_why(database: Database, space: Space) -> None:
    _move(database, space, 1)
    _move(database, space, 2)
    moved = _move(database, space, 0, action="rollback", reason="it babbles")
    assert (moved.live_version, moved.previous_version) == (0, 2)
    assert _status(database, space, 2) == AdapterStatus.RETIRED
    for fact in _facts(database, space).values():
        assert fact.status == FactStatus.REJECTED
        assert fact.live_since_version is None
        assert fact.reason == "rollback from version 2 to 0: it babbles"


@pytest.mark.usefixtures("two_versions")
def test_rolling_back_one_version_keeps_the_facts_that_it_holds(database: Database, space: Space) -> None:
    _move(database, space, 1)
    _move(database, space, 2)
    _move(database, space, 1, action="rollback")
    facts = _facts(database, space)
    assert facts["My cat is Biscuit."].status == FactStatus.LIVE
    assert facts["I am a vet."].status == FactStatus.REJECTED


@pytest.mark.usefixtures("two_versions")
def test_promoting_a_version_again_brings_its_facts_back(database: Database, space: Space) -> None:
    _move(database, space, 2)
    _move(database, space, 0, action="rollback")
    _move(database, space, 2, action="promote")
    for fact in _facts(database, space).values():
        assert (fact.status, fact.reason, fact.live_since_version) == (FactStatus.LIVE, None, 2)
    assert _status(database, space, 2) == AdapterStatus.LIVE


@pytest.mark.usefixtures("two_versions")
def test_a_fact_that_was_superseded_does_not_come_back(database: Database, space: Space) -> None:
    _move(database, space, 1)
    with database.transaction() as session:
        for fact in FactRepository(session).with_status(space.id, FactStatus.LIVE):
            advance_fact(fact, to=FactStatus.SUPERSEDED)
    _move(database, space, 0, action="rollback")
    _move(database, space, 1, action="promote")
    assert _facts(database, space)["My cat is Biscuit."].status == FactStatus.SUPERSEDED


@pytest.mark.usefixtures("two_versions")
def test_a_fact_being_forgotten_ends_when_weights_without_it_go_live_and_cannot_be_brought_back(
    database: Database, space: Space
) -> None:
    _move(database, space, 1)
    with database.transaction() as session:
        (fact,) = FactRepository(session).with_status(space.id, FactStatus.LIVE)
        advance_fact(fact, to=FactStatus.FORGETTING)
    _move(database, space, 0, action="rollback")
    with database.read() as session:
        (forgotten,) = FactRepository(session).by_ids([fact.id])
    assert (forgotten.status, forgotten.statement) == (FactStatus.FORGOTTEN, "")
    with pytest.raises(Conflict, match="was forgotten"):
        _move(database, space, 1, action="promote")


@pytest.mark.usefixtures("two_versions")
def test_live_periods_follow_each_other_and_one_is_open(database: Database, space: Space) -> None:
    _move(database, space, 1)
    _move(database, space, 2, reason="better")
    _move(database, space, 0, action="rollback", reason="worse")
    periods = _periods(database, space)
    assert [(period.version, period.reason) for period in periods] == [(1, "tested"), (2, "better"), (0, "worse")]
    assert [period.until_at for period in periods] == [periods[1].from_at, periods[2].from_at, None]
    with database.read() as session:
        assert [p.reason for p in AdapterRepository(session).live_periods(space.id, 2)] == ["better"]


@pytest.mark.usefixtures("two_versions")
def test_every_move_is_in_the_audit_log_with_who_what_and_why(database: Database, space: Space) -> None:
    _move(database, space, 1)
    _move(database, space, 0, action="rollback", reason="it babbles")
    with database.read() as session:
        events = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    last = events[-1]
    assert [event.action for event in events] == ["adapter.publish", "adapter.rollback"]
    assert (last.actor, last.tenant, last.subject, last.reason) == ("ann", "local", "alice/0", "it babbles")
    assert (last.old, last.new) == ({"live_version": 1}, {"live_version": 0})


@pytest.mark.usefixtures("two_versions")
def test_making_the_live_version_live_changes_and_records_nothing(database: Database, space: Space) -> None:
    _move(database, space, 1)
    _move(database, space, 1)
    assert len(_periods(database, space)) == 1
    with database.read() as session:
        assert len(session.scalars(select(AuditEvent)).all()) == 1


@pytest.mark.usefixtures("two_versions")
def test_a_run_based_on_a_version_that_is_no_longer_live_is_refused(database: Database, space: Space) -> None:
    _move(database, space, 1)
    with pytest.raises(Conflict, match="version 1 went live"), database.transaction() as session:
        make_live(session, space.id, 2, actor="worker", action="publish", reason="gate", expected_live=0)
    assert _status(database, space, 2) == AdapterStatus.LOADED
    assert len(_periods(database, space)) == 1


@pytest.mark.parametrize("status", [AdapterStatus.REGISTERED, AdapterStatus.FAILED, AdapterStatus.WITHDRAWN])
def test_a_version_that_cannot_be_served_never_goes_live(
    database: Database, space: Space, status: AdapterStatus
) -> None:
    with database.transaction() as session:
        adapter_version(session, space, status=status)
    with pytest.raises(Conflict, match=f"version 1 is {status}"):
        _move(database, space, 1)
    with database.read() as session:
        assert SpaceRepository(session).by_id(space.id).live_version == 0


def test_a_version_that_does_not_exist_is_not_found(database: Database, space: Space) -> None:
    with pytest.raises(NotFound):
        _move(database, space, 7)


def test_a_canary_that_goes_live_is_no_longer_canary(database: Database, space: Space) -> None:
    with database.transaction() as session:
        adapter_version(session, space, status=AdapterStatus.CANARY)
        SpaceRepository(session).by_id(space.id).canary_version = 1
    assert _move(database, space, 1).canary_version is None


@pytest.mark.usefixtures("two_versions")
def test_of_two_runs_that_publish_at_once_one_is_refused(database: Database, space: Space) -> None:
    barrier = Barrier(2)

    def publish(version: int) -> int | None:
        barrier.wait()
        try:
            with database.transaction() as session:
                make_live(session, space.id, version, actor="worker", action="publish", reason="gate", expected_live=0)
        except Conflict:
            return None
        return version

    with ThreadPoolExecutor(2) as pool:
        published = [version for version in pool.map(publish, (1, 2)) if version]
    assert len(published) == 1
    with database.read() as session:
        assert SpaceRepository(session).by_id(space.id).live_version == published[0]
    assert [period.version for period in _periods(database, space)] == published


@pytest.mark.usefixtures("two_versions")
def test_operators_that_move_the_alias_at_once_leave_one_open_period_and_a_whole_chain(
    database: Database, space: Space
) -> None:
    barrier = Barrier(4)

    def promote(version: int) -> None:
        barrier.wait()
        _move(database, space, version, action="promote")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(promote, (1, 2, 0, 1)))
    with database.read() as session:
        live = SpaceRepository(session).by_id(space.id).live_version
        events = session.scalars(select(AuditEvent).order_by(AuditEvent.id)).all()
    periods = _periods(database, space)
    assert [period.version for period in periods if period.until_at is None] == [live]
    assert [event.old for event in events] == [{"live_version": 0}, *[event.new for event in events[:-1]]]


def test_hot_versions_are_the_aliased_ones_and_the_newest_servable(database: Database, space: Space) -> None:
    with database.transaction() as session:
        for status in (
            AdapterStatus.RETIRED,
            AdapterStatus.LOADED,
            AdapterStatus.FAILED,
            AdapterStatus.LOADED,
            AdapterStatus.WITHDRAWN,
            AdapterStatus.LOADED,
            AdapterStatus.REGISTERED,
        ):
            adapter_version(session, space, status=status)
        SpaceRepository(session).by_id(space.id).previous_version = 1
    with database.read() as session:
        hot = AdapterRepository(session).hot(keep=2)
    assert [adapter.version for adapter in hot] == [6, 4, 1]


def test_live_versions_are_listed_for_every_space_that_learned(database: Database, space: Space) -> None:
    with database.transaction() as session:
        other = SpaceRepository(session).get_or_create("local", "bob")
        adapter_version(session, space)
        adapter_version(session, other)
    _move(database, other, 1)
    with database.read() as session:
        assert [adapter.space_id for adapter in AdapterRepository(session).live()] == [other.id]


def test_a_version_number_is_never_used_again_even_after_a_failure(database: Database, space: Space) -> None:
    with database.transaction() as session:
        first = adapter_version(session, space, status=AdapterStatus.FAILED)
        second = adapter_version(session, space)
        assert (first.version, second.version) == (1, 2)
        assert first.lora_name != second.lora_name
        other = SpaceRepository(session).get_or_create("local", "bob")
        assert AdapterRepository(session).next_version(other.id) == 1
