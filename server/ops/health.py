"""`/healthz`, `/readyz` and `/metrics`: is it alive, can it answer, how is it doing."""

from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from sqlalchemy.exc import SQLAlchemyError

from engram.db import Database
from engram.queue import Doorbell
from engram.repositories import AdapterRepository
from server.deps import OpsCallerDep, StateDep
from server.engines import EnginePool
from server.notify import QUEUE_ERRORS

router = APIRouter()


@router.get("/healthz")
def is_alive() -> dict[str, str]:
    return {"status": "ok"}


@router.get("/readyz")
def is_ready(state: StateDep, response: Response) -> dict[str, Any]:
    """503 with the part that fails. Names no space: it is open to load balancers."""
    checks = {
        "database": _database(state.database),
        "queue": _queue(state.doorbell),
        "engine": _engines(state.pool),
        "adapters": _adapters(state.pool),
    }
    ready = all(problem is None for problem in checks.values())
    if not ready:
        response.status_code = 503
        response.headers["Retry-After"] = "5"
    return {"ready": ready, "checks": {name: problem or "ok" for name, problem in checks.items()}}


@router.get("/metrics")
def metrics(_caller: OpsCallerDep, state: StateDep) -> Response:
    return Response(state.metrics.render(), media_type=CONTENT_TYPE_LATEST)


def _database(database: Database) -> str | None:
    try:
        with database.read() as session:
            AdapterRepository(session).live()
    except SQLAlchemyError as error:
        return f"cannot be read: {type(error).__name__}"
    return None


def _queue(doorbell: Doorbell) -> str | None:
    try:
        doorbell.is_alive()
    except QUEUE_ERRORS as error:
        return f"cannot be reached: {type(error).__name__}"
    return None


def _engines(pool: EnginePool) -> str | None:
    down = sum(not replica.ready for replica in pool.replicas)
    return f"{down} of {len(pool.replicas)} not ready" if down else None


def _adapters(pool: EnginePool) -> str | None:
    missing = sum(len(replica.missing) for replica in pool.replicas)
    return f"{missing} adapters of live versions cannot be loaded; the log says why" if missing else None
