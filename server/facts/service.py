"""Change the fact ledger, and write down who did. The audit log never holds what was said: forgetting must be whole."""

from collections.abc import Sequence

from sqlalchemy.orm import Session

from engram.errors import Conflict, InvalidRequest
from engram.forgetting import FORGOTTEN_OR_ABOUT_TO_BE, forget
from engram.gate import ProbeKind
from engram.lifecycle import FactStatus, advance_fact
from engram.models import Fact
from engram.repositories import FactRepository, OpsRepository, SpaceRepository
from engram.statements import why_not_a_fact
from server.auth import Caller
from server.facts.probe_check import GivenProbe, find_contradiction


def add_fact(
    session: Session, *, caller: Caller, space_name: str, statement: str, probes: Sequence[GivenProbe]
) -> tuple[Fact, bool]:
    """Add a fact and say True, or find the standing one that says the same and say False.

    What states no fact, or comes with probes that contradict it, is kept as rejected, with the reason.
    """
    space = SpaceRepository(session).get_or_create(caller.tenant, space_name)
    facts = FactRepository(session)
    if standing := facts.find_standing(space.id, statement):
        return standing, False
    reason = why_not_a_fact(statement) or find_contradiction(statement, probes)
    status = FactStatus.REJECTED if reason else FactStatus.PENDING
    fact = facts.add(space.id, statement, status=status, reason=reason)
    for probe in probes:
        kind = ProbeKind.RELIABILITY.value
        facts.add_probe(fact.id, kind=kind, origin="user", question=probe.question, answers=[probe.answer])
    _record(session, caller, fact, "fact.added", old=None)
    return fact, True


def edit_fact(session: Session, *, caller: Caller, fact_id: str, statement: str | None, status: str | None) -> Fact:
    """Say a fact anew, or have a rejected one learned again. Returns the fact that now stands."""
    fact = _locked(session, caller, fact_id)
    if statement is None and status is None:
        raise InvalidRequest("give a statement or a status", param="statement")
    if statement is not None and statement != fact.statement:
        return _restate(session, caller, fact, statement)
    if status == FactStatus.PENDING and fact.status != FactStatus.PENDING:
        _learn_again(session, caller, fact)
    return fact


def delete_fact(session: Session, *, caller: Caller, fact_id: str) -> Fact:
    """Forget a fact: at once if no weights serve it, else by the worker, which rebuilds without it."""
    fact = _locked(session, caller, fact_id)
    old, space = fact.status, SpaceRepository(session).by_id(fact.space_id)
    if forget(session, space, fact, reason=f"deleted by {caller.actor}"):
        _record(session, caller, fact, "fact.deleted", old=old)
    return fact


def space_name_of(session: Session, fact: Fact) -> str:
    return SpaceRepository(session).by_id(fact.space_id).name


def _locked(session: Session, caller: Caller, fact_id: str) -> Fact:
    """The fact, as it is with its space's row held: nothing moves it meanwhile."""
    fact = FactRepository(session).get(caller.tenant, fact_id)
    SpaceRepository(session).by_id(fact.space_id, lock=True)
    session.refresh(fact)
    return fact


def _restate(session: Session, caller: Caller, fact: Fact, statement: str) -> Fact:
    facts = FactRepository(session)
    if fact.status in (*FORGOTTEN_OR_ABOUT_TO_BE, FactStatus.SUPERSEDED):
        raise Conflict(f"the fact is {fact.status}; state a new one")
    standing = facts.find_standing(fact.space_id, statement)
    if standing is not None and standing.id != fact.id:
        raise Conflict(f"the fact {standing.id} says this already")
    old = fact.status
    if old == FactStatus.PENDING and fact.live_since_version is None:
        fact.statement = statement
        if any(old.status == FactStatus.LIVE for old in facts.by_ids([fact.supersedes_id or ""])):
            fact.supersedes_id = None  # which was found by the old wording
        facts.erase_study_material(fact)  # its probes ask for the old wording
        _record(session, caller, fact, "fact.edited", old=old)
        return fact
    advance_fact(fact, to=FactStatus.SUPERSEDED)
    fact.reason = f"edited by {caller.actor}"
    new = facts.add(fact.space_id, statement, supersedes_id=fact.id)
    _record(session, caller, fact, "fact.edited", old=old, successor=new.id)
    return new


def _learn_again(session: Session, caller: Caller, fact: Fact) -> None:
    if fact.status != FactStatus.REJECTED:
        raise Conflict(f"only a rejected fact can be set to pending; this one is {fact.status}", param="status")
    advance_fact(fact, to=FactStatus.PENDING)
    fact.reason, fact.attempts = None, 0
    _record(session, caller, fact, "fact.requeued", old=FactStatus.REJECTED)


def _record(
    session: Session, caller: Caller, fact: Fact, action: str, *, old: str | None, successor: str | None = None
) -> None:
    new = {"status": str(fact.status), **({"superseded_by": successor} if successor else {})}
    OpsRepository(session).record(
        tenant=caller.tenant,
        space_id=fact.space_id,
        actor=caller.actor,
        action=action,
        subject=fact.id,
        old={"status": str(old)} if old else None,
        new=new,
    )
