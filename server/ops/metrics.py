"""Prometheus metrics: requests as they pass, and the state of the ledger as it is when asked."""

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from engram.db import Database
from engram.repositories import ChatRepository, FactRepository, RunRepository, SpaceRepository
from server.engines import EnginePool

_LATENCY_BUCKETS_S = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 40, 80, 160)


class Metrics:
    """One registry an app, so that two servers in one process do not share numbers."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "engram_requests", "Requests by route and status.", ["method", "route", "status"], registry=self.registry
        )
        self.chat_seconds = Histogram(
            "engram_chat_seconds",
            "Seconds until a chat answer was complete, or for streams had begun.",
            ["stream"],
            buckets=_LATENCY_BUCKETS_S,
            registry=self.registry,
        )

        self.chat_scope = Counter(
            "engram_chat_scope",
            "Messages that a version answered itself (in), or the base for it (out).",
            ["scope"],
            registry=self.registry,
        )

    def watch(self, database: Database, pool: EnginePool) -> None:
        self.registry.register(StateCollector(database, pool))

    def render(self) -> bytes:
        return generate_latest(self.registry)


class StateCollector(Collector):
    """Reads the database when Prometheus asks. Yields nothing stale, and keeps nothing."""

    def __init__(self, database: Database, pool: EnginePool) -> None:
        self._database = database
        self._pool = pool

    def describe(self) -> list[Metric]:
        return []  # else registering would collect once, before the first request

    def collect(self) -> Iterator[Metric]:
        with self._database.read() as session:
            facts = FactRepository(session).count_by_status()
            runs = RunRepository(session).count_by_status()
            spaces = SpaceRepository(session).all()
            waiting = ChatRepository(session).count_awaiting_extraction()
        yield _gauge("engram_facts", "Facts by status.", ["status"], {(name,): n for name, n in facts.items()})
        yield _gauge("engram_learning_runs", "Learning runs by status.", ["status"], {(s,): n for s, n in runs.items()})
        yield GaugeMetricFamily("engram_messages_awaiting_extraction", "User messages not yet read.", value=waiting)
        live = {(space.tenant, space.name): space.live_version for space in spaces}
        yield _gauge("engram_live_version", "Live adapter version; 0 is the base.", ["tenant", "space"], live)
        ready = {(replica.url,): int(replica.ready) for replica in self._pool.replicas}
        yield _gauge("engram_engine_ready", "Whether a replica is sent requests.", ["engine"], ready)


class RequestCounter:
    """Counts each request under the route that answered it, never under its raw path."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics) -> None:
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                route = getattr(scope.get("route"), "path", "none")
                self.metrics.requests.labels(_method(scope), route, str(message["status"])).inc()
            await send(message)

        await self.app(scope, receive, send_counted)


def _method(scope: Scope) -> str:
    known = ("GET", "POST", "PATCH", "DELETE", "HEAD", "OPTIONS", "PUT")
    return scope["method"] if scope["method"] in known else "other"


def _gauge(name: str, text: str, labels: list[str], values: Mapping[Any, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=labels)
    for key, value in values.items():  # keys are tuples of label values
        family.add_metric(key, value)
    return family
