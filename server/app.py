"""Put the server together: state, middleware, routes. Decides nothing about requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import httpx
from fastapi import FastAPI

from engram.db import Database
from engram.queue import Doorbell, open_doorbell
from engram.settings import Settings
from server.adapters import endpoints as adapters
from server.auth import check_address
from server.body_limit import BodyLimit
from server.chat import endpoints as chat
from server.chat.scoping import Scoping
from server.engines import EnginePool, open_pool
from server.error_handlers import add_error_handlers
from server.facts import endpoints as facts
from server.learning_runs import endpoints as learning_runs
from server.loopback_guard import LoopbackGuard
from server.ops import audit, console, health
from server.ops.metrics import Metrics, RequestCounter
from server.ops.reconciler import Reconciler
from server.state import AppState


def create_app(
    settings: Settings,
    *,
    database: Database | None = None,
    doorbell: Doorbell | None = None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> FastAPI:
    """The server for `settings`. `transport` stands in for the network to the engines.

    Raises UnsafeAddress for an address off loopback without auth.
    """
    check_address(settings)
    settings.home.mkdir(parents=True, exist_ok=True)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        opened = database or Database(settings.resolved_database_url)
        bell = doorbell or open_doorbell(settings)
        pool = open_pool(settings, transport=transport)
        metrics.watch(opened, pool)
        scoping = Scoping(min_margin=settings.scope_min_margin)
        app.state.engram = AppState(settings, opened, bell, pool, metrics, scoping)
        async with _reconciling(settings, opened, pool):
            yield
        await pool.aclose()
        if database is None:
            opened.dispose()

    app = FastAPI(title="Engram", version="0.1.0", lifespan=lifespan)
    for module in (chat, facts, learning_runs, adapters, health, audit, console):
        app.include_router(module.router)
    add_error_handlers(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_body_bytes)
    if not settings.auth:
        app.add_middleware(LoopbackGuard)
    app.add_middleware(RequestCounter, metrics=metrics)
    return app


@asynccontextmanager
async def _reconciling(settings: Settings, database: Database, pool: EnginePool) -> AsyncIterator[None]:
    reconciler = Reconciler(settings=settings, database=database, pool=pool)
    task = asyncio.create_task(reconciler.run(), name="reconciler")
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
