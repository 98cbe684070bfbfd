"""All vLLM replicas: choose one for a request, and have an adapter on every one of them."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
from fastapi.concurrency import run_in_threadpool

from engram.errors import EngineUnavailable
from engram.settings import Settings
from engram.vllm_client import auth_headers
from server.adapter_files import AdapterFiles, ServedAdapter
from server.chat.in_flight import InFlight
from server.replica import Replica


class EnginePool:
    def __init__(self, replicas: list[Replica]) -> None:
        self.replicas = replicas
        self.in_flight = InFlight()
        self.files = AdapterFiles()

    @property
    def ready(self) -> list[Replica]:
        """Replicas that may be sent requests, the least busy first."""
        return sorted((replica for replica in self.replicas if replica.ready), key=lambda replica: replica.running)

    def choose(self) -> Replica:
        """Raises EngineUnavailable if no replica is ready."""
        if ready := self.ready:
            return ready[0]
        raise EngineUnavailable("the engine is starting or its adapters are not loaded yet; try again shortly")

    @contextmanager
    def using(self, replica: Replica, lora_name: str) -> Iterator[None]:
        """Count a request on a replica and on an adapter for as long as it is answered."""
        replica.running += 1
        try:
            with self.in_flight.counting(lora_name):
                yield
        finally:
            replica.running -= 1

    async def load(self, replica: Replica, adapter: ServedAdapter) -> None:
        """Check an adapter's files and load it. Raises AdapterRejected, AdapterLoadFailed or EngineUnavailable."""
        await run_in_threadpool(self.files.check, adapter)
        await replica.load(adapter.lora_name, adapter.path)

    async def load_everywhere(self, adapter: ServedAdapter) -> None:
        """Have an adapter on every replica, so that the next request finds it wherever it goes."""
        if any(not replica.ready for replica in self.replicas):
            raise EngineUnavailable("not every engine is up, so the version cannot be loaded; nothing was changed")
        await asyncio.gather(*(self.load(replica, adapter) for replica in self.replicas))

    async def aclose(self) -> None:
        for replica in self.replicas:
            await replica.http.aclose()


def open_pool(settings: Settings, *, transport: httpx.AsyncBaseTransport | None = None) -> EnginePool:
    """A client for each replica named in the settings; `transport` stands in for the network."""
    timeout = httpx.Timeout(settings.engine_timeout_s, connect=5.0)
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=20)
    headers = auth_headers(settings)
    return EnginePool(
        [
            Replica(
                httpx.AsyncClient(
                    base_url=url, timeout=timeout, limits=limits, headers=headers, trust_env=False, transport=transport
                )
            )
            for url in settings.engines
        ]
    )
