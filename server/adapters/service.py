"""Choose where a rollback or promotion goes, and read a version's lineage. `engram.promotion` moves the alias."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.orm import Session

from engram.errors import Conflict
from engram.lifecycle import AdapterStatus
from engram.models import AdapterVersion, Candidate, Space
from engram.repositories import AdapterRepository, FactRepository, RunRepository, SpaceRepository
from engram.repositories.adapters import SERVABLE
from engram.routing import BASE_VERSION
from server.adapter_files import ServedAdapter
from server.adapters.schemas import AdapterDetail, HeldFact, LivePeriodBody, adapter_columns
from server.auth import Caller

_NOT_EXPORTED = (AdapterStatus.WITHDRAWN, AdapterStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Move:
    """A planned move of the live alias. `adapters` must be loaded for it: none for the base, which is always there."""

    space_id: str
    version: int
    live_before: int
    adapters: tuple[ServedAdapter, ...]


def plan_rollback(session: Session, *, caller: Caller, space_name: str, to: int | None) -> Move:
    """Raises Conflict if there is nothing to go back to, NotFound for an unknown space or version."""
    space = SpaceRepository(session).get(caller.tenant, space_name)
    target = _earlier_version(session, space) if to is None else to
    return _plan(session, space, target)


def plan_promotion(session: Session, *, caller: Caller, space_name: str, version: int) -> Move:
    """Raises Conflict for a version that cannot be served, NotFound for an unknown space or version."""
    return _plan(session, SpaceRepository(session).get(caller.tenant, space_name), version)


def lineage(session: Session, *, caller: Caller, space_name: str, version: int) -> AdapterDetail:
    space, row = find_version(session, caller=caller, space_name=space_name, version=version)
    adapters = AdapterRepository(session)
    held = adapters.held(row.id)
    facts = FactRepository(session).by_ids(held)
    candidate = _candidate(session, row)
    return AdapterDetail(
        **adapter_columns(row, space),
        facts=[
            HeldFact(id=fact.id, statement=fact.statement, status=fact.status, shard=held[fact.id]) for fact in facts
        ],
        strategy=candidate.strategy if candidate else None,
        notes=candidate.notes if candidate else [],
        settings=candidate.settings if candidate else {},
        report=candidate.report if candidate else None,
        decision=candidate.decision if candidate else None,
        live_periods=[
            LivePeriodBody(actor=p.actor, reason=p.reason, from_at=p.from_at, until_at=p.until_at)
            for p in adapters.live_periods(space.id, version)
        ],
    )


def find_version(session: Session, *, caller: Caller, space_name: str, version: int) -> tuple[Space, AdapterVersion]:
    space = SpaceRepository(session).get(caller.tenant, space_name)
    return space, AdapterRepository(session).get(space.id, version)


def plan_export(session: Session, *, caller: Caller, space_name: str, version: int) -> dict[str, ServedAdapter]:
    """The adapters of a version by the folder that each is given out in: its own at the top, its shards below.

    Raises Conflict for a version that must not leave the server.
    """
    _, row = find_version(session, caller=caller, space_name=space_name, version=version)
    if row.status in _NOT_EXPORTED:
        raise Conflict(f"version {version} is {row.status}: {row.reason or 'it is not given out'}")
    name = f"engram-{space_name}-v{version}"
    shards = AdapterRepository(session).shards(row)
    return {name: ServedAdapter.of(row)} | {
        f"{name}/shards/v{shard.version}": ServedAdapter.of(shard) for shard in shards
    }


def _plan(session: Session, space: Space, version: int) -> Move:
    if version == space.live_version:
        raise Conflict(f"version {version} is live already")
    if version == BASE_VERSION:
        return Move(space.id, version, space.live_version, ())
    row = AdapterRepository(session).get(space.id, version)
    if row.status not in SERVABLE:
        raise Conflict(f"version {version} is {row.status}: {row.reason or 'it cannot be served'}")
    return Move(space.id, version, space.live_version, tuple(_with_shards(session, row)))


def _with_shards(session: Session, row: AdapterVersion) -> Iterator[ServedAdapter]:
    """What an engine needs to answer as a version does: itself first."""
    yield ServedAdapter.of(row)
    yield from (ServedAdapter.of(shard) for shard in AdapterRepository(session).shards(row))


def _earlier_version(session: Session, space: Space) -> int:
    """The older version that was live before, else the nearest ancestor that can be served; the base at last.

    Never a newer one: rolling back twice goes further back, not forward to what was just undone.
    """
    if space.live_version == BASE_VERSION:
        raise Conflict(f"space {space.name!r} serves the base: there is nothing to go back to")
    adapters = AdapterRepository(session)
    version = adapters.get(space.id, space.live_version).parent_version
    if space.previous_version is not None and space.previous_version < space.live_version:
        version = space.previous_version
    while version != BASE_VERSION and (row := adapters.get(space.id, version)).status not in SERVABLE:
        version = row.parent_version
    return version


def _candidate(session: Session, row: AdapterVersion) -> Candidate | None:
    candidates = RunRepository(session).candidates(row.run_id)
    return next((candidate for candidate in candidates if candidate.id == row.candidate_id), None)
