"""Relay an engine's stream to the client chunk by chunk, and keep what was sent, however it ends."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Protocol

import anyio
import httpx
import structlog
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from engram.errors import EngineUnavailable
from server.chat.proxy import Upstream
from server.error_handlers import error_body

log = structlog.get_logger()

_DONE = b"data: [DONE]\n\n"


class StoreAnswer(Protocol):
    """Keep the answer's text; `heard` is False if the engine broke it off."""

    def __call__(self, text: str, *, heard: bool) -> Awaitable[None]: ...


class Relay:
    """One streamed answer. The answer is stored before `[DONE]`, so the client's next request finds it."""

    def __init__(self, upstream: Upstream, *, model: str, note: Mapping[str, object], store: StoreAnswer) -> None:
        self._upstream = upstream
        self._model = model
        self._note: Mapping[str, object] | None = note
        self._store = store
        self._text: list[str] = []
        self._stored = False

    async def events(self) -> AsyncIterator[bytes]:
        try:
            async for data in _data_lines(self._upstream.response):
                if data == b"[DONE]":
                    await self._keep(heard=True)
                    yield _DONE
                    return
                chunk = json.loads(data)
                if "error" in chunk:
                    raise EngineUnavailable(f"the engine failed: {chunk['error'].get('message', '')[:300]}")
                yield _event(self._relabelled(chunk))
            raise EngineUnavailable("the engine broke off its answer")
        except (httpx.TransportError, json.JSONDecodeError) as error:
            yield await self._break_off(EngineUnavailable(f"the engine broke off its answer: {type(error).__name__}"))
        except EngineUnavailable as error:
            yield await self._break_off(error)

    async def aclose(self) -> None:
        """Stop the engine, and keep what a client that went away had been sent."""
        await self._upstream.aclose()
        if any(self._text):
            await self._keep(heard=True)

    async def _break_off(self, error: EngineUnavailable) -> bytes:
        log.warning("chat.broken_off", reason=error.message)
        if any(self._text):
            await self._keep(heard=False)
        return _event(error_body(error))

    async def _keep(self, *, heard: bool) -> None:
        if not self._stored:
            self._stored = True
            await self._store("".join(self._text), heard=heard)

    def _relabelled(self, chunk: dict[str, Any]) -> dict[str, Any]:
        for choice in chunk.get("choices", []):
            if choice.get("index") == 0:
                self._text.append(choice.get("delta", {}).get("content") or "")
        chunk["model"] = self._model
        if self._note is not None:  # in the first chunk
            chunk["engram"], self._note = self._note, None
        return chunk


class RelayResponse(StreamingResponse):
    """A streaming response that closes its relay also when the client went away before or during it."""

    def __init__(self, relay: Relay, *, headers: Mapping[str, str]) -> None:
        super().__init__(
            relay.events(), media_type="text/event-stream", headers={**headers, "Cache-Control": "no-cache"}
        )
        self._close: Callable[[], Awaitable[None]] = relay.aclose

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._close()


async def _data_lines(response: httpx.Response) -> AsyncIterator[bytes]:
    # Split at newlines only: httpx's own line reader also splits at U+2028, which JSON text may hold.
    rest = b""
    async for piece in response.aiter_bytes():
        *lines, rest = (rest + piece).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].strip()


def _event(body: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(body).encode() + b"\n\n"
