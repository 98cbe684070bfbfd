"""`/v1/facts`: the ledger that operators and users look at, correct and erase."""

from typing import Annotated

from fastapi import APIRouter, Query, Response
from sqlalchemy.orm import Session

from engram.lifecycle import FactStatus
from engram.models import Fact
from engram.repositories import FactRepository, SpaceRepository
from engram.repositories.spaces import DEFAULT_SPACE
from server.deps import CursorQuery, DatabaseDep, EmptyAsNone, FactsCallerDep, LimitQuery, SpaceQuery, StateDep
from server.facts import service
from server.facts.schemas import FactBody, FactDetail, FactEdit, NewFact
from server.notify import ring
from server.schemas import ListBody
from server.state import AppState

router = APIRouter(prefix="/v1/facts")

StatusQuery = Annotated[FactStatus | None, Query(), EmptyAsNone]
TextQuery = Annotated[str | None, Query(max_length=500), EmptyAsNone]


@router.get("")
def list_facts(
    *,
    caller: FactsCallerDep,
    database: DatabaseDep,
    space: SpaceQuery = DEFAULT_SPACE,
    status: StatusQuery = None,
    q: TextQuery = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> ListBody[FactBody]:
    with database.read() as session:
        found = SpaceRepository(session).find_listed(caller.tenant, space)
        if found is None:
            return ListBody[FactBody](data=[])
        page = FactRepository(session).page(found.id, status=status, text=q, limit=limit, cursor=cursor)
        return ListBody(data=[FactBody.of(fact, found.name) for fact in page.rows], next=page.next)


@router.post("", status_code=201)
def add_fact(body: NewFact, caller: FactsCallerDep, state: StateDep, response: Response) -> FactDetail:
    with state.database.transaction() as session:
        fact, is_new = service.add_fact(
            session, caller=caller, space_name=body.space, statement=body.statement, probes=body.given_probes
        )
        detail = _detail(session, fact)
    if not is_new:
        response.status_code = 200
    _wake_worker(state, fact)
    return detail


@router.get("/{fact_id}")
def get_fact(fact_id: str, caller: FactsCallerDep, database: DatabaseDep) -> FactDetail:
    with database.read() as session:
        return _detail(session, FactRepository(session).get(caller.tenant, fact_id))


@router.patch("/{fact_id}")
def edit_fact(fact_id: str, body: FactEdit, caller: FactsCallerDep, state: StateDep) -> FactDetail:
    with state.database.transaction() as session:
        fact = service.edit_fact(session, caller=caller, fact_id=fact_id, statement=body.statement, status=body.status)
        session.flush()
        detail = _detail(session, fact)
    _wake_worker(state, fact)
    return detail


@router.delete("/{fact_id}")
def delete_fact(fact_id: str, caller: FactsCallerDep, state: StateDep) -> FactDetail:
    with state.database.transaction() as session:
        fact = service.delete_fact(session, caller=caller, fact_id=fact_id)
        session.flush()
        detail = _detail(session, fact)
    _wake_worker(state, fact)
    return detail


def _wake_worker(state: AppState, fact: Fact) -> None:
    pending = fact.status == FactStatus.PENDING and state.settings.learn_automatically
    if pending or fact.status == FactStatus.FORGETTING:
        ring(state.doorbell.learn, fact.space_id)


def _detail(session: Session, fact: Fact) -> FactDetail:
    probes = FactRepository(session).probes([fact.id])
    return FactDetail.with_probes(fact, service.space_name_of(session, fact), probes)
