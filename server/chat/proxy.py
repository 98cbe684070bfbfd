"""Send a chat request to an engine and read its refusals. Never stores anything."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import structlog

from engram.errors import AdapterRejected, EngineUnavailable, EngramError, InvalidRequest
from engram.vllm_client import AdapterLoadFailed
from server.adapter_files import ServedAdapter
from server.chat.schemas import ChatRequest
from server.engines import EnginePool
from server.replica import Replica

log = structlog.get_logger()

_TOO_LONG = "maximum context length"


class EngineRefused(InvalidRequest):
    """The engine found something wrong with the request itself."""


@dataclass(slots=True)
class Upstream:
    """An engine's answer that has begun. Until `aclose`, it counts as in flight."""

    response: httpx.Response
    _held: AsyncExitStack

    async def aclose(self) -> None:
        await self._held.aclose()


@dataclass(frozen=True, slots=True)
class Question:
    """What goes to the engine. The defaults hold for a request that names no length, or no temperature.

    vLLM cuts `default_max_tokens` to the room that the prompt leaves, and refuses only one above the whole context.
    """

    request: ChatRequest
    engine_model: str
    adapter: ServedAdapter | None
    default_max_tokens: int
    default_temperature: float

    def body(self) -> dict[str, Any]:
        body = self.request.engine_body(model=self.engine_model)
        if not self.request.names_length:
            body["max_tokens"] = self.default_max_tokens
        if body.get("temperature") is None:
            body["temperature"] = self.default_temperature
        return body


async def ask(pool: EnginePool, question: Question) -> Upstream:
    """Begin an answer on the least busy engine; on the next one if that cannot be reached.

    Raises EngineUnavailable, or EngineRefused with the engine's own words.
    """
    pool.choose()
    for replica in pool.ready:
        try:
            return await _ask_replica(pool, replica, question)
        except httpx.ConnectError:
            replica.mark_down()
            log.warning("engine.unreachable", engine=replica.url)
        except httpx.TransportError as error:
            raise EngineUnavailable(f"the engine broke off: {type(error).__name__}") from error
    raise EngineUnavailable("no engine can be reached; try again shortly")


async def _ask_replica(pool: EnginePool, replica: Replica, question: Question) -> Upstream:
    async with AsyncExitStack() as held:
        held.enter_context(pool.using(replica, question.engine_model))
        response = await _send(replica, question.body())
        if response.status_code == 404 and question.adapter:
            await _load_again(pool, replica, question.adapter)
            response = await _send(replica, question.body())
        if not response.is_success:
            raise _refusal(response)
        held.push_async_callback(response.aclose)
        return Upstream(response, held.pop_all())


async def _send(replica: Replica, body: dict[str, Any]) -> httpx.Response:
    """A response whose body is still to come if it is a success, else read."""
    # Built from the parsed body alone: no header of the client reaches the engine.
    request = replica.http.build_request("POST", "/v1/chat/completions", json=body)
    response = await replica.http.send(request, stream=True)
    if not response.is_success:
        try:
            await response.aread()
        finally:
            await response.aclose()
    return response


async def _load_again(pool: EnginePool, replica: Replica, adapter: ServedAdapter) -> None:
    log.warning("adapter.missing_in_engine", engine=replica.url, adapter=adapter.lora_name)
    try:
        await pool.load(replica, adapter)
    except (AdapterRejected, AdapterLoadFailed) as error:
        raise EngineUnavailable(f"this version cannot be served now: {error.message}", retry_after_s=30) from error


def _refusal(response: httpx.Response) -> EngramError:
    if response.status_code not in (400, 413, 422):
        log.warning("engine.failed", status=response.status_code, body=response.text[:300])
        return EngineUnavailable(f"the engine answered {response.status_code}")
    try:
        detail = response.json()["error"]
        refused = EngineRefused(str(detail["message"]), param=detail.get("param"))
    except (ValueError, KeyError, TypeError):
        refused = EngineRefused("the engine refused the request")
    if _TOO_LONG in refused.message:
        refused.code = "context_length_exceeded"
    return refused
