"""Turn away requests that other sites' pages send to a server without auth.

A page on the web can send requests to 127.0.0.1, and with DNS rebinding even read the answers.
Both show in headers: a Host or an Origin that is not this machine.
"""

from urllib.parse import urlsplit

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from engram.errors import NotPermitted
from server.auth import is_loopback
from server.error_handlers import error_response


class ForeignOrigin(NotPermitted):
    code = "foreign_origin"


class LoopbackGuard:
    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (problem := _problem(Headers(scope=scope))):
            await error_response(ForeignOrigin(problem))(scope, receive, send)
            return
        await self.app(scope, receive, send)


def _problem(headers: Headers) -> str | None:
    if not is_loopback(_host_of(f"//{headers.get('host', '')}")):
        return "without auth this server answers only requests whose Host is localhost or a loopback address"
    origin = headers.get("origin")
    if origin is not None and not is_loopback(_host_of(origin)):
        return "without auth this server answers no requests from other sites' pages"
    return None


def _host_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
