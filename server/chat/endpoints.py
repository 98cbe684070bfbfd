"""`/v1/chat/completions` and `/v1/models`, as OpenAI has them."""

import json
from typing import Any

import httpx
from fastapi import APIRouter
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from engram.errors import EngineUnavailable, ModelNotFound
from engram.repositories import AdapterRepository, SpaceRepository
from engram.routing import BASE_MODEL, LIVE_MODEL
from server.auth import Caller, Scope
from server.chat import proxy, service
from server.chat.schemas import ChatRequest
from server.chat.stream import Relay, RelayResponse
from server.deps import AnySpaceQuery, ChatCallerDep, StateDep
from server.notify import ring
from server.state import AppState

router = APIRouter()


@router.post("/v1/chat/completions")
async def create_chat_completion(request: ChatRequest, caller: ChatCallerDep, state: StateDep) -> Response:
    turn = await run_in_threadpool(_begin, state, request, caller)
    length = min(state.settings.max_output_tokens, state.settings.engine_max_model_len)
    question = proxy.Question(
        request,
        turn.engine_model,
        turn.answering,
        default_max_tokens=length,
        default_temperature=state.settings.default_temperature,
    )
    with state.metrics.chat_seconds.labels(stream=str(bool(request.stream)).lower()).time():
        upstream = await proxy.ask(state.pool, question)
        if not request.stream:
            return await _whole(state, turn, upstream)
    return _streamed(state, turn, upstream)


@router.get("/v1/models")
def list_models(
    caller: ChatCallerDep, state: StateDep, user: AnySpaceQuery = None, space: AnySpaceQuery = None
) -> dict[str, Any]:
    return {"object": "list", "data": _models(state, caller, space or user)}


@router.get("/v1/models/{model}")
def get_model(
    model: str, caller: ChatCallerDep, state: StateDep, user: AnySpaceQuery = None, space: AnySpaceQuery = None
) -> dict[str, Any]:
    if found := next((one for one in _models(state, caller, space or user) if one["id"] == model), None):
        return found
    raise ModelNotFound(f"model {model[:80]!r} does not exist", param="model")


def _begin(state: AppState, request: ChatRequest, caller: Caller) -> service.Turn:
    with state.database.transaction() as session:
        turn = service.begin_turn(session, request, caller=caller, canary_share=state.settings.canary_share)
    for message_id in turn.to_extract:
        ring(state.doorbell.extract, message_id)
    if turn.adapter is None:
        return turn
    shard = state.scoping.answering(turn.adapter, request.messages)
    with state.database.read() as session:
        turn = service.answered_by(session, turn, shard)
    state.metrics.chat_scope.labels(scope=turn.scope).inc()
    return turn


def _end(state: AppState, turn: service.Turn, text: str, heard: bool) -> None:
    with state.database.transaction() as session:
        service.end_turn(session, turn, text=text, heard=heard)


async def _whole(state: AppState, turn: service.Turn, upstream: proxy.Upstream) -> Response:
    try:
        answer = json.loads(await upstream.response.aread())
        text = answer["choices"][0]["message"].get("content") or ""
    except (httpx.TransportError, ValueError, LookupError, TypeError) as error:
        raise EngineUnavailable(f"the engine broke off its answer: {type(error).__name__}") from error
    finally:
        await upstream.aclose()
    await run_in_threadpool(_end, state, turn, text, True)
    return JSONResponse({**answer, "model": turn.model, "engram": turn.note}, headers=turn.headers)


def _streamed(state: AppState, turn: service.Turn, upstream: proxy.Upstream) -> Response:
    async def store(text: str, *, heard: bool) -> None:
        await run_in_threadpool(_end, state, turn, text, heard)

    return RelayResponse(Relay(upstream, model=turn.model, note=turn.note, store=store), headers=turn.headers)


def _models(state: AppState, caller: Caller, space_name: str | None) -> list[dict[str, Any]]:
    models = [_model(LIVE_MODEL), _model(BASE_MODEL)]
    if caller.may(Scope.OPS):
        with state.database.read() as session:
            space = SpaceRepository(session).find(caller.tenant, space_name or "default")
            servable = AdapterRepository(session).servable(space.id) if space else []
            models += [_model(f"{LIVE_MODEL}@{row.version}", int(row.created_at.timestamp())) for row in servable]
    return models


def _model(name: str, created: int = 0) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": "engram"}
