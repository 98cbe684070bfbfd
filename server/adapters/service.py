"""Choose where a rollback or promotion goes, and read a version's lineage. `engram.promotion` moves the alias."""

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
    """A planned move of the live alias. `adapter` is None for the base, which is always there."""

    space_id: str
    version: int
    live_before: int
    adapter: ServedAdapter | None


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
    facts = FactRepository(session).by_ids(adapters.fact_ids(row.id))
    candidate = _candidate(session, row)
    return AdapterDetail(
        **adapter_columns(row, space),
        facts=[HeldFact(id=fact.id, statement=fact.statement, status=fact.status) for fact in facts],
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


def plan_export(session: Session, *, caller: Caller, space_name: str, version: int) -> ServedAdapter:
    """Raises Conflict for a version that must not leave the server."""
    _, row = find_version(session, caller=caller, space_name=space_name, version=version)
    if row.status in _NOT_EXPORTED:
        raise Conflict(f"version {version} is {row.status}: {row.reason or 'it is not given out'}")
    return ServedAdapter.of(row)


def _plan(session: Session, space: Space, version: int) -> Move:
    if version == space.live_version:
        raise Conflict(f"version {version} is live already")
    adapter = None
    if version != BASE_VERSION:
        row = AdapterRepository(session).get(space.id, version)
        if row.status not in SERVABLE:
            raise Conflict(f"version {version} is {row.status}: {row.reason or 'it cannot be served'}")
        adapter = ServedAdapter.of(row)
    return Move(space.id, version, space.live_version, adapter)


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
