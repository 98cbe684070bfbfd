"""Publish a winning candidate: files in place, loaded everywhere, checked through vLLM, then live.

Every step can run twice: after a kill at any moment the run finds the registered version and goes
on from there.
"""

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import structlog

from engram.artifacts import BaseShape, install, verify
from engram.db import Database
from engram.errors import AdapterRejected, Conflict, EngramError
from engram.grading import is_right
from engram.lifecycle import AdapterStatus, advance_adapter
from engram.models import AdapterVersion, Candidate
from engram.promotion import make_live
from engram.repositories import AdapterRepository, FactRepository, SpaceRepository
from engram.routing import OWN_SHARD
from engram.settings import Settings
from engram.vllm_client import AdapterLoadFailed, EngineClient
from worker.author.client import at_once
from worker.learner import PROBE_TOKENS
from worker.probing import Asked

log = structlog.get_logger()


class ServedAnswersDiffer(EngramError):
    """vLLM does not answer as the trainer's model did: the wrong weights are behind the name."""

    code = "served_answers_differ"


def register(
    database: Database,
    settings: Settings,
    *,
    shape: BaseShape,
    candidate: Candidate,
    space_id: str,
    parent_version: int,
    save: Callable[[Path], None],
    held: Mapping[str, int],
) -> AdapterVersion:
    """Write, verify and move the files, then record the version. The digest is part of path and name.

    `held`: the shard that holds each fact (`AdapterRepository.register`). Raises Conflict where one of these was
    forgotten meanwhile: no version could withdraw it any more.
    """
    staging = settings.adapters_dir / ".staging" / candidate.id
    shutil.rmtree(staging, ignore_errors=True)
    save(staging)
    digest = verify(staging, shape=shape)
    with database.transaction() as session:
        space = SpaceRepository(session).by_id(space_id, lock=True)
        adapters = AdapterRepository(session)
        if erased := FactRepository(session).erased(held):
            raise Conflict(f"{', '.join(sorted(erased))} was forgotten while this was trained")
        version = adapters.next_version(space_id)
        path = settings.adapters_dir / space_id / f"v{version}-{digest[:8]}"
        install(staging, path)
        return adapters.register(
            space,
            candidate,
            version=version,
            path=str(path),
            digest=digest,
            held=held,
            parent_version=parent_version,
        )


def load_everywhere(
    database: Database,
    engines: Sequence[EngineClient],
    adapter: AdapterVersion,
    asked: Sequence[Asked],
    *,
    shape: BaseShape,
    floor: float,
) -> None:
    """Load a registered version on every replica, with those of its shards that it does not have; see that it answers
    as the trainer's model did.
    """
    with database.read() as session:
        shards = AdapterRepository(session).shards(adapter)
    verify(Path(adapter.path), shape=shape, digest=adapter.digest)
    for engine in engines:
        loaded = engine.loaded() if shards else {}
        for shard in shards:
            if loaded.get(shard.lora_name) != shard.path:
                verify(Path(shard.path), shape=shape, digest=shard.digest)
                engine.load(shard.lora_name, shard.path)
        engine.load(adapter.lora_name, adapter.path)
    check_served(engines, adapter.lora_name, asked, floor=floor)
    if adapter.status == AdapterStatus.REGISTERED:  # a run that goes on may find it canary already
        _advance(database, adapter, AdapterStatus.LOADED)


def check_served(engines: Sequence[EngineClient], lora_name: str, asked: Sequence[Asked], *, floor: float) -> None:
    """Ask each replica what the trained weights got right. Raises ServedAnswersDiffer below `floor`."""
    right = [item for item in asked if item.right and item.answers and item.shard == OWN_SHARD][:12]
    for engine in engines:
        answers = at_once(
            lambda item, engine=engine: engine.chat(  # type: ignore[misc]
                [{"role": "user", "content": item.question}], model=lora_name, max_tokens=PROBE_TOKENS
            ),
            right,
        )
        agreeing = sum(is_right(answer, item.answers) for answer, item in zip(answers, right, strict=True))
        if agreeing < floor * len(right):
            raise ServedAnswersDiffer(f"{engine.url} answers {agreeing} of {len(right)} probes as trained")


def go_live(database: Database, settings: Settings, adapter: AdapterVersion, *, reason: str) -> None:
    """Serve as canary for a while where that is set up, then flip the alias in one transaction."""
    if settings.canary_share > 0 and settings.canary_s > 0:
        _advance(database, adapter, AdapterStatus.CANARY)
        _set_canary(database, adapter, adapter.version)
        time.sleep(settings.canary_s)
    with database.transaction() as session:
        make_live(
            session,
            adapter.space_id,
            adapter.version,
            actor="worker",
            action="publish",
            reason=reason,
            expected_live=adapter.parent_version,
        )


def fail(database: Database, adapter: AdapterVersion, reason: str) -> None:
    """End a version that never went live, with its reason."""
    with database.transaction() as session:
        row = AdapterRepository(session).get(adapter.space_id, adapter.version)
        space = SpaceRepository(session).by_id(adapter.space_id, lock=True)
        if space.canary_version == adapter.version:
            space.canary_version = None
        if row.status != AdapterStatus.WITHDRAWN:  # it held what was forgotten meanwhile
            advance_adapter(row, to=AdapterStatus.FAILED)
            row.reason = reason
    log.warning("adapter.failed", space=adapter.space_id, version=adapter.version, reason=reason)


REFUSALS = (AdapterRejected, AdapterLoadFailed)
WAS_LIVE = (AdapterStatus.LIVE, AdapterStatus.RETIRED)


def _advance(database: Database, adapter: AdapterVersion, to: AdapterStatus) -> None:
    with database.transaction() as session:
        advance_adapter(AdapterRepository(session).get(adapter.space_id, adapter.version), to=to)


def _set_canary(database: Database, adapter: AdapterVersion, version: int | None) -> None:
    with database.transaction() as session:
        SpaceRepository(session).by_id(adapter.space_id, lock=True).canary_version = version
