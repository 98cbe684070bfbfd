"""Find work that the queue lost: row states are the truth, and a sweep rings again for what they show."""

import shutil
from datetime import timedelta
from pathlib import Path

import structlog

from engram.artifacts import SCOPE, digest_folder
from engram.db import Database
from engram.lifecycle import AdapterStatus, FactStatus, RunStatus
from engram.models import AdapterVersion
from engram.models.base import utc_now
from engram.queue import Doorbell
from engram.repositories import AdapterRepository, ChatRepository, FactRepository, RunRepository
from engram.settings import Settings

log = structlog.get_logger()


def ring_for_unfinished(database: Database, doorbell: Doorbell, settings: Settings) -> int:
    """Ring for every message not yet extracted and every space with something to learn. Returns the rings."""
    with database.read() as session:
        messages = ChatRepository(session).awaiting_extraction()
        spaces = {run.space_id for run in RunRepository(session).unfinished()}
        spaces |= set(FactRepository(session).spaces_with(FactStatus.FORGETTING))
        if settings.learn_automatically:
            spaces |= set(FactRepository(session).spaces_with(FactStatus.PENDING))
    if settings.learn_automatically:
        spaces |= set(to_consolidate(database, settings))
    for message_id in messages:
        doorbell.extract(message_id)
    for space_id in sorted(spaces):
        doorbell.learn(space_id)
    return len(messages) + len(spaces)


def to_consolidate(database: Database, settings: Settings) -> list[str]:
    """Ids of spaces that learned enough since they last were trained from the base, while nobody chats."""
    if not settings.consolidate_after_runs:
        return []
    with database.read() as session:
        if not ChatRepository(session).is_quiet_since(utc_now() - timedelta(seconds=settings.consolidate_idle_s)):
            return []
        return RunRepository(session).spaces_to_consolidate(after_runs=settings.consolidate_after_runs)


def someone_waits(database: Database, settings: Settings) -> bool:
    """Whether anything is to be learned or forgotten, in any space. What another worker runs does not wait."""
    wanted = [FactStatus.FORGETTING, *([FactStatus.PENDING] if settings.learn_automatically else [])]
    with database.read() as session:
        queued = any(run.status == RunStatus.QUEUED for run in RunRepository(session).unfinished())
        return queued or bool(FactRepository(session).spaces_with(*wanted))


def release_orphaned_runs(database: Database, *, only_worker: bool, stale_s: float) -> None:
    """Let the runs of a dead worker be claimed at once. With several workers only silent ones are dead."""
    dead_since = utc_now() - timedelta(seconds=0 if only_worker else stale_s)
    with database.transaction() as session:
        for run in RunRepository(session).unfinished():
            if run.heartbeat_at and run.heartbeat_at < dead_since:
                run.heartbeat_at = utc_now() - timedelta(days=1)
                log.info("run.released", run=run.id, stage=run.stage)


def remove_stray_files(database: Database, settings: Settings) -> None:
    """Delete adapter folders that no version names: what a kill left between the files and their row."""
    shutil.rmtree(settings.adapters_dir / ".staging", ignore_errors=True)
    with database.read() as session:
        known = AdapterRepository(session).paths()
    for folder in settings.adapters_dir.glob("sp_*/v*"):
        if str(folder) not in known:
            log.info("adapter.stray_removed", path=str(folder))
            shutil.rmtree(folder)


def remove_withdrawn_files(database: Database) -> int:
    """Delete the folders of withdrawn versions, which answered what was forgotten. Returns how many there were.

    Weights that never held it, with which other versions answer, stay; of what they were asked nothing does.
    """
    with database.read() as session:
        adapters = AdapterRepository(session)
        left = [one for one in adapters.with_status(AdapterStatus.WITHDRAWN) if Path(one.path).exists()]
        serving = [one for one in left if adapters.serves_others(one)]
    for one in serving:
        if (Path(one.path) / SCOPE).exists():
            _keep_weights_alone(database, one)
    removed = [one for one in left if one not in serving]
    for one in removed:
        log.info("adapter.withdrawn_removed", path=one.path)
        shutil.rmtree(one.path, ignore_errors=True)  # another worker may be at it too
    return len(removed)


def _keep_weights_alone(database: Database, adapter: AdapterVersion) -> None:
    """Delete the scope, and count it out of the digest before: a kill in between leaves it to the next sweep.

    The digest is corrected only if it was right: what was damaged must not pass for whole.
    """
    folder = Path(adapter.path)
    try:
        is_whole = digest_folder(folder) == adapter.digest
    except FileNotFoundError:
        return  # another thread or worker is at it too
    if is_whole:
        with database.transaction() as session:
            row = AdapterRepository(session).get(adapter.space_id, adapter.version)
            row.digest = digest_folder(folder, with_scope=False)
    (folder / SCOPE).unlink(missing_ok=True)
    log.info("adapter.scope_removed", path=adapter.path)
