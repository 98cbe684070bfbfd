"""What the sweep and a start find again: messages, facts and runs that no bell rings for, files that no row names."""

from datetime import timedelta
from pathlib import Path

import pytest
from huey import MemoryHuey

from engram.db import Database
from engram.lifecycle import FactStatus
from engram.models import Space
from engram.models.base import utc_now
from engram.queue import Doorbell
from engram.repositories import ChatRepository, FactRepository, RunRepository, SpaceRepository
from engram.settings import Settings
from tests.builders import adapter_version
from worker.recovery import release_orphaned_runs, remove_stray_files, ring_for_unfinished


@pytest.fixture
def bell() -> Doorbell:
    return Doorbell(MemoryHuey("test", results=False))


def _rung(bell: Doorbell) -> set[tuple[str, str]]:
    return {(task.name, task.args[0]) for task in bell.huey.pending()}


def _say(database: Database, space: Space, text: str, *, role: str = "user") -> str:
    with database.transaction() as session:
        chat = ChatRepository(session)
        return chat.add_message(chat.add_conversation(space.id, text), role=role, content=text).id


def test_unextracted_messages_and_spaces_with_work_are_rung_for_again(
    database: Database, space: Space, bell: Doorbell
) -> None:
    waiting = _say(database, space, "My cat is Biscuit.")
    _say(database, space, "Nice!", role="assistant")
    with database.transaction() as session:
        spaces = {name: SpaceRepository(session).get_or_create("local", name).id for name in ("bob", "carol", "dave")}
        FactRepository(session).add(spaces["bob"], "I live in Bergen.")
        RunRepository(session).queue(spaces["carol"], [])
        FactRepository(session).add(spaces["dave"], "I am 7.", status=FactStatus.REJECTED)
    assert ring_for_unfinished(database, bell, Settings()) == 3
    assert _rung(bell) == {("extract", waiting), ("learn", spaces["bob"]), ("learn", spaces["carol"])}


def test_pending_facts_are_left_alone_where_learning_is_not_automatic(
    database: Database, space: Space, bell: Doorbell
) -> None:
    with database.transaction() as session:
        FactRepository(session).add(space.id, "I live in Bergen.")
        FactRepository(session).add(space.id, "I live in Oslo.", status=FactStatus.LIVE)
    assert ring_for_unfinished(database, bell, Settings(learn_automatically=False)) == 0
    with database.transaction() as session:
        RunRepository(session).queue(space.id, [])
    assert ring_for_unfinished(database, bell, Settings(learn_automatically=False)) == 1


def test_with_nothing_left_to_do_no_bell_rings(database: Database, bell: Doorbell) -> None:
    assert ring_for_unfinished(database, bell, Settings()) == 0
    assert _rung(bell) == set()


def _running(database: Database, space: Space, *, silent_s: float) -> str:
    with database.transaction() as session:
        run = RunRepository(session).queue(space.id, [])
        RunRepository(session).claim(run.id, stale_before=utc_now())
        session.flush()
        session.refresh(run)
        run.heartbeat_at = utc_now() - timedelta(seconds=silent_s)
        return run.id


def _can_be_claimed(database: Database, run_id: str) -> bool:
    with database.transaction() as session:
        return RunRepository(session).claim(run_id, stale_before=utc_now() - timedelta(seconds=30))


def test_only_worker_takes_over_every_run_at_its_start(database: Database, space: Space) -> None:
    run_id = _running(database, space, silent_s=0.5)
    assert not _can_be_claimed(database, run_id)
    release_orphaned_runs(database, only_worker=True, stale_s=30)
    assert _can_be_claimed(database, run_id)
    assert not _can_be_claimed(database, run_id)


@pytest.mark.parametrize(("silent_s", "free"), [(1.0, False), (29.0, False), (31.0, True)])
def test_one_of_several_workers_takes_over_silent_runs_only(
    database: Database, space: Space, silent_s: float, free: bool
) -> None:
    run_id = _running(database, space, silent_s=silent_s)
    release_orphaned_runs(database, only_worker=False, stale_s=30)
    assert _can_be_claimed(database, run_id) is free


def test_files_that_no_version_names_are_removed_and_the_others_kept(
    database: Database, space: Space, settings: Settings
) -> None:
    home = settings.adapters_dir / space.id
    named, stray = home / "v1-aaaaaaaa", home / "v2-bbbbbbbb"
    elsewhere = settings.adapters_dir / "notes"
    staging = settings.adapters_dir / ".staging" / "cand_1"
    for folder in (named, stray, elsewhere, staging):
        folder.mkdir(parents=True)
        (folder / "adapter_config.json").write_text("{}")
    with database.transaction() as session:
        adapter_version(session, SpaceRepository(session).by_id(space.id)).path = str(named)
    remove_stray_files(database, settings)
    assert [_exists(path) for path in (named, stray, elsewhere, staging)] == [True, False, True, False]


def test_home_without_any_adapter_is_no_error(database: Database, settings: Settings) -> None:
    remove_stray_files(database, settings)
    assert not settings.adapters_dir.exists()


def _exists(folder: Path) -> bool:
    return (folder / "adapter_config.json").is_file()
