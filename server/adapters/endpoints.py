"""`/v1/adapters`: see what the model taught itself, and take it back."""

from pathlib import Path as FilePath
from typing import Annotated, Any

from fastapi import APIRouter, Path
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from pydantic import AfterValidator

from engram.errors import AdapterRejected, Conflict
from engram.promotion import make_live
from engram.repositories import AdapterRepository, SpaceRepository
from engram.repositories.spaces import DEFAULT_SPACE
from engram.routing import check_space_name
from engram.vllm_client import AdapterLoadFailed
from server.adapters import service
from server.adapters.export import tar_pieces
from server.adapters.schemas import MAX_VERSION, AdapterBody, AdapterDetail, Rollback, SpaceBody
from server.auth import Caller
from server.deps import CursorQuery, DatabaseDep, LimitQuery, OpsCallerDep, PoolDep, SpaceQuery, StateDep
from server.schemas import ListBody, ReasonBody
from server.state import AppState

router = APIRouter(prefix="/v1/adapters")

SpacePath = Annotated[str, Path(), AfterValidator(lambda name: check_space_name(name, param="space"))]
VersionPath = Annotated[int, Path(ge=0, le=MAX_VERSION)]


@router.get("")
def list_adapters(
    caller: OpsCallerDep,
    database: DatabaseDep,
    space: SpaceQuery = DEFAULT_SPACE,
    limit: LimitQuery = 50,
    cursor: CursorQuery = None,
) -> ListBody[AdapterBody]:
    with database.read() as session:
        found = SpaceRepository(session).find_listed(caller.tenant, space)
        if found is None:
            return ListBody[AdapterBody](data=[])
        page = AdapterRepository(session).page(found.id, limit=limit, cursor=cursor)
        return ListBody(data=[AdapterBody.of(row, found) for row in page.rows], next=page.next)


@router.get("/{space}/{version}")
def get_adapter(space: SpacePath, version: VersionPath, caller: OpsCallerDep, database: DatabaseDep) -> AdapterDetail:
    with database.read() as session:
        return service.lineage(session, caller=caller, space_name=space, version=version)


@router.post("/{space}/rollback")
async def roll_back(space: SpacePath, body: Rollback, caller: OpsCallerDep, state: StateDep) -> SpaceBody:
    def plan() -> service.Move:
        with state.database.read() as session:
            return service.plan_rollback(session, caller=caller, space_name=space, to=body.to)

    move = await run_in_threadpool(plan)
    return await _move(state, caller, move, action="rollback", reason=body.reason)


@router.post("/{space}/{version}/promote")
async def promote(
    space: SpacePath, version: VersionPath, body: ReasonBody, caller: OpsCallerDep, state: StateDep
) -> SpaceBody:
    def plan() -> service.Move:
        with state.database.read() as session:
            return service.plan_promotion(session, caller=caller, space_name=space, version=version)

    move = await run_in_threadpool(plan)
    return await _move(state, caller, move, action="promote", reason=body.reason)


@router.get("/{space}/{version}/export")
def export_adapter(
    space: SpacePath, version: VersionPath, caller: OpsCallerDep, database: DatabaseDep, pool: PoolDep
) -> StreamingResponse:
    with database.read() as session:
        adapters = service.plan_export(session, caller=caller, space_name=space, version=version)
    try:
        for adapter in adapters.values():
            pool.files.check(adapter)
    except AdapterRejected as error:
        raise Conflict(f"version {version} cannot be given out: {error.message}") from error
    name = f"engram-{space}-v{version}"
    headers: dict[str, Any] = {"Content-Disposition": f'attachment; filename="{name}.tar"'}
    folders = {folder: FilePath(adapter.path) for folder, adapter in adapters.items()}
    return StreamingResponse(tar_pieces(folders), media_type="application/x-tar", headers=headers)


async def _move(state: AppState, caller: Caller, move: service.Move, *, action: str, reason: str) -> SpaceBody:
    """Load first, then flip: the next request finds the version wherever it goes."""
    try:
        for adapter in move.adapters:
            await state.pool.load_everywhere(adapter)
    except (AdapterRejected, AdapterLoadFailed) as error:
        raise Conflict(f"version {move.version} cannot be served: {error.message}") from error

    def flip() -> SpaceBody:
        with state.database.transaction() as session:
            space = make_live(
                session,
                move.space_id,
                move.version,
                actor=caller.actor,
                action=action,
                reason=reason,
                expected_live=move.live_before,
            )
            return SpaceBody.of(space)

    return await run_in_threadpool(flip)
