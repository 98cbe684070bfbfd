"""`/v1/learning-runs`: what Engram is teaching itself, and why it let it in or not."""

from typing import Annotated

from fastapi import APIRouter, Header, Query, Response
from fastapi.concurrency import run_in_threadpool
from sse_starlette import EventSourceResponse

from engram.lifecycle import RunStatus
from engram.repositories import RunRepository
from server.deps import (
    AnySpaceQuery,
    CursorQuery,
    DatabaseDep,
    EmptyAsNone,
    FactsCallerDep,
    LimitQuery,
    StateDep,
)
from server.learning_runs import events, service
from server.learning_runs.schemas import NewRun, RunBody, RunDetail
from server.notify import ring
from server.schemas import ListBody

router = APIRouter(prefix="/v1/learning-runs")

StatusQuery = Annotated[RunStatus | None, Query(), EmptyAsNone]


@router.get("")
def list_runs(
    *,
    caller: FactsCallerDep,
    database: DatabaseDep,
    space: AnySpaceQuery = None,
    status: StatusQuery = None,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> ListBody[RunBody]:
    with database.read() as session:
        return service.list_runs(session, caller=caller, space_name=space, status=status, limit=limit, cursor=cursor)


@router.post("", status_code=202)
def start_run(caller: FactsCallerDep, state: StateDep, response: Response, body: NewRun | None = None) -> RunDetail:
    wanted = body or NewRun()
    with state.database.transaction() as session:
        run, is_new = service.start_run(
            session,
            caller=caller,
            space_name=wanted.space,
            kind=wanted.kind,
            max_facts=state.settings.most_facts_at_once,
        )
        detail = service.detail(session, run)
    response.status_code = 202 if is_new else 200
    ring(state.doorbell.learn, run.space_id)
    return detail


@router.get("/{run_id}")
def get_run(run_id: str, caller: FactsCallerDep, database: DatabaseDep) -> RunDetail:
    with database.read() as session:
        return service.detail(session, RunRepository(session).get(caller.tenant, run_id))


@router.get("/{run_id}/events")
async def watch_run(
    run_id: str,
    caller: FactsCallerDep,
    database: DatabaseDep,
    last_event_id: Annotated[str, Header(max_length=64)] = "",
) -> Response:
    """Progress as server-sent events. 204 tells a reconnecting client that nothing more will come."""
    finished, missed = await run_in_threadpool(_look, database, caller.tenant, run_id, last_event_id)
    if finished and not missed and last_event_id:
        return Response(status_code=204)
    return EventSourceResponse(events.progress(database, run_id, after=last_event_id))


def _look(database: DatabaseDep, tenant: str, run_id: str, cursor: str) -> tuple[bool, bool]:
    with database.read() as session:
        RunRepository(session).get(tenant, run_id)
    finished, missed = events.look(database, run_id, cursor)
    return finished, bool(missed)
