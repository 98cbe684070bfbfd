"""Move a space's `live` alias: publish, roll back, promote. One transaction, one row lock, all records with it."""

from sqlalchemy.orm import Session

from engram.errors import Conflict
from engram.forgetting import forget_unserved
from engram.ids import new_id
from engram.lifecycle import AdapterStatus, FactStatus, advance_adapter, advance_fact
from engram.models import AdapterVersion, LivePeriod, Space
from engram.models.base import utc_now
from engram.repositories import AdapterRepository, FactRepository, OpsRepository, SpaceRepository
from engram.routing import BASE_VERSION

_CAN_GO_LIVE = (AdapterStatus.LOADED, AdapterStatus.CANARY, AdapterStatus.RETIRED, AdapterStatus.LIVE)


def make_live(
    session: Session,
    space_id: str,
    version: int,
    *,
    actor: str,
    action: str,
    reason: str,
    expected_live: int | None = None,
) -> Space:
    """Point `live` at `version` and settle everything that follows from it.

    `expected_live`: refuse if another version went live meanwhile. Raises Conflict for that and
    for a version that cannot be served, NotFound for one that does not exist.
    """
    space = SpaceRepository(session).by_id(space_id, lock=True)
    if expected_live is not None and space.live_version != expected_live:
        raise Conflict(f"version {space.live_version} went live while this run was based on {expected_live}")
    adapters = AdapterRepository(session)
    target = adapters.get(space_id, version) if version != BASE_VERSION else None
    if target is not None and target.status not in _CAN_GO_LIVE:
        raise Conflict(f"version {version} is {target.status}: {target.reason or 'it cannot be served'}")
    if space.live_version == version:
        return space
    old = space.live_version
    if retired := adapters.find(space_id, old):
        advance_adapter(retired, to=AdapterStatus.RETIRED)
    if target is not None:
        advance_adapter(target, to=AdapterStatus.LIVE)
    space.previous_version, space.live_version = old, version
    if space.canary_version == version:
        space.canary_version = None
    _record_period(session, space, actor=actor, reason=reason)
    _settle_facts(session, space, target, reason=f"{action} from version {old} to {version}: {reason}")
    OpsRepository(session).record(
        tenant=space.tenant,
        space_id=space.id,
        actor=actor,
        action=f"adapter.{action}",
        subject=f"{space.name}/{version}",
        old={"live_version": old},
        new={"live_version": version},
        reason=reason,
    )
    return space


def _record_period(session: Session, space: Space, *, actor: str, reason: str) -> None:
    now = utc_now()
    for period in AdapterRepository(session).live_periods(space.id):
        if period.until_at is None:
            period.until_at = now
    session.add(
        LivePeriod(
            id=new_id("live"), space_id=space.id, version=space.live_version, actor=actor, reason=reason, from_at=now
        )
    )


def _settle_facts(session: Session, space: Space, target: AdapterVersion | None, *, reason: str) -> None:
    """Facts that the live weights now hold are live; those they no longer hold are rejected, with the reason.

    They do not go back to pending: the next run would undo the operator's rollback. Editing a
    fact's status to pending learns it again.
    """
    facts = FactRepository(session)
    held = set(AdapterRepository(session).fact_ids(target.id)) if target else set()
    for fact in facts.with_status(space.id, FactStatus.LIVE):
        if fact.id not in held:
            advance_fact(fact, to=FactStatus.REJECTED)
            fact.reason, fact.live_since_version = reason, None
    for fact in facts.by_ids(held):
        if fact.status in (FactStatus.PENDING, FactStatus.LEARNING, FactStatus.REJECTED):
            advance_fact(fact, to=FactStatus.LIVE)
            fact.reason, fact.live_since_version = None, space.live_version
    forget_unserved(session, space)
