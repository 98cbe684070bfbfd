"""Render every error in OpenAI's shape: {"error": {message, type, param, code}}. The only place that knows both."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import IntegrityError, OperationalError
from starlette.exceptions import HTTPException

from engram.errors import (
    Conflict,
    EngineUnavailable,
    EngramError,
    InvalidRequest,
    NotAuthenticated,
    NotFound,
    TooLarge,
)

log = structlog.get_logger()


class DatabaseUnavailable(EngineUnavailable):
    code = "database_unavailable"


def add_error_handlers(app: FastAPI) -> None:
    app.add_exception_handler(EngramError, _on_domain_error)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(IntegrityError, _on_lost_race)
    app.add_exception_handler(OperationalError, _on_lost_database)
    app.add_exception_handler(Exception, _on_unexpected)


def error_body(error: EngramError) -> dict[str, Any]:
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def error_response(error: EngramError) -> JSONResponse:
    headers = {}
    if isinstance(error, EngineUnavailable):
        headers["Retry-After"] = str(error.retry_after_s)
    if isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error_body(error), status_code=error.status, headers=headers)


def _on_domain_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, EngramError)
    if error.status >= 500:
        log.warning("request.failed", error=type(error).__name__, message=error.message)
    return error_response(error)


def _on_invalid_request(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    if request.method in ("POST", "PATCH") and "json" not in request.headers.get("content-type", "json"):
        return error_response(InvalidRequest("send the body as JSON, with Content-Type: application/json"))
    first: Mapping[str, Any] = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:] if first["type"] != "json_invalid")
    reason = str(first["msg"]).removeprefix("Value error, ")
    message = f"{param}: {reason}" if param else f"the request is not valid: {reason}"
    return error_response(InvalidRequest(message, param=param or None))


class _MethodNotAllowed(InvalidRequest):
    status = 405
    code = "method_not_allowed"


_BY_STATUS: dict[int, type[EngramError]] = {404: NotFound, 405: _MethodNotAllowed, 413: TooLarge}


def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = error.detail
    if error.status_code in (404, 405):
        message = f"{request.method} {request.url.path[:200]} does not exist"
    response = error_response(_BY_STATUS.get(error.status_code, InvalidRequest)(message))
    response.headers.update(error.headers or {})
    return response


def _on_lost_race(_request: Request, error: Exception) -> JSONResponse:
    log.warning("request.lost_race", error=str(getattr(error, "orig", error)))
    return error_response(Conflict("someone else changed this at the same moment; look again and repeat"))


def _on_lost_database(_request: Request, error: Exception) -> JSONResponse:
    log.error("database.unavailable", error=str(getattr(error, "orig", error)))
    return error_response(DatabaseUnavailable("the database cannot be used now; try again shortly"))


def _on_unexpected(_request: Request, _error: Exception) -> JSONResponse:
    # Starlette raises the exception again after this answer, and uvicorn logs it with its traceback
    # and closes the connection: the client is told, or its next request would meet a reset.
    response = error_response(EngramError("the server met an unexpected error; its log has the details"))
    response.headers["Connection"] = "close"
    return response
