"""Refuse bodies over the limit and addresses with NUL, before anything reads them whole."""

from fastapi import HTTPException
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engram.errors import InvalidRequest, TooLarge
from server.error_handlers import error_response


class BodyLimit:
    """Counts while the body arrives, so that a chunked one without a length is held to the limit too."""

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
        elif "\0" in scope["path"] or b"%00" in scope["query_string"]:
            await error_response(InvalidRequest("NUL characters are not allowed"))(scope, receive, send)
        elif self._announced(scope) > self.max_bytes:
            await error_response(TooLarge(self._message))(scope, receive, send)
        else:
            await self.app(scope, self._counting(receive), send)

    def _announced(self, scope: Scope) -> int:
        length = Headers(scope=scope).get("content-length", "0")
        return int(length) if length.isdecimal() and len(length) < 20 else 0

    def _counting(self, receive: Receive) -> Receive:
        received = 0

        async def receive_counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > self.max_bytes:
                # FastAPI turns any other exception raised while it reads into a 400.
                raise HTTPException(TooLarge.status, self._message)
            return message

        return receive_counted

    @property
    def _message(self) -> str:
        return f"the request body is larger than {self.max_bytes} bytes"
