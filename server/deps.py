"""Name every dependency of an endpoint once. Services never import this."""

from typing import Annotated, Any

from fastapi import Depends, Query, Request
from pydantic import AfterValidator, BeforeValidator

from engram.db import Database
from engram.errors import NotAuthenticated, NotPermitted
from engram.repositories import OpsRepository
from engram.repositories.pages import MAX_LIMIT
from engram.repositories.spaces import DEFAULT_SPACE
from engram.routing import check_space_name
from engram.settings import Settings
from server.auth import LOCAL, Caller, Scope, caller_of_key
from server.engines import EnginePool
from server.state import AppState


def get_state(request: Request) -> AppState:
    state: AppState = request.app.state.engram
    return state


StateDep = Annotated[AppState, Depends(get_state)]


def get_settings(state: StateDep) -> Settings:
    return state.settings


def get_database(state: StateDep) -> Database:
    return state.database


def get_pool(state: StateDep) -> EnginePool:
    return state.pool


SettingsDep = Annotated[Settings, Depends(get_settings)]
DatabaseDep = Annotated[Database, Depends(get_database)]
PoolDep = Annotated[EnginePool, Depends(get_pool)]


def get_caller(request: Request, state: StateDep) -> Caller:
    """Who asks. Raises NotAuthenticated."""
    if not state.settings.auth:
        return LOCAL
    scheme, _, secret = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not secret.strip():
        raise NotAuthenticated("send an API key: Authorization: Bearer KEY")
    with state.database.read() as session:
        return caller_of_key(OpsRepository(session).key(secret.strip()))


CallerDep = Annotated[Caller, Depends(get_caller)]


def _with_scope(scope: Scope) -> Any:
    def get_permitted(caller: CallerDep) -> Caller:
        if not caller.may(scope):
            raise NotPermitted(f"this key lacks the scope {scope.value!r}")
        return caller

    return Depends(get_permitted)


ChatCallerDep = Annotated[Caller, _with_scope(Scope.CHAT)]
FactsCallerDep = Annotated[Caller, _with_scope(Scope.FACTS)]
OpsCallerDep = Annotated[Caller, _with_scope(Scope.OPS)]


def _empty_as_none(value: Any) -> Any:
    return None if value == "" else value


def _space_name(value: str) -> str:
    return check_space_name(value, param="space")


EmptyAsNone = BeforeValidator(_empty_as_none)
SpaceQuery = Annotated[str, Query(), BeforeValidator(lambda value: value or DEFAULT_SPACE), AfterValidator(_space_name)]
AnySpaceQuery = Annotated[str | None, Query(), EmptyAsNone]
LimitQuery = Annotated[int, Query(ge=1, le=MAX_LIMIT)]
CursorQuery = Annotated[str | None, Query(max_length=64), EmptyAsNone]
