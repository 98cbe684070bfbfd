"""Make each engine hold what the database wants: load what is missing, unload what nobody needs.

Runtime-loaded adapters are gone after an engine restarts, so a replica gets no request before this
has gone over it once. Never touches names that are not versions (`sp_...`): the author adapter is
the worker's.
"""

import asyncio
from dataclasses import dataclass

import structlog
from fastapi.concurrency import run_in_threadpool

from engram.db import Database
from engram.errors import AdapterRejected, EngineUnavailable
from engram.lifecycle import AdapterStatus
from engram.repositories import AdapterRepository
from engram.settings import Settings
from engram.vllm_client import AdapterLoadFailed
from server.adapter_files import ServedAdapter
from server.engines import EnginePool
from server.replica import Replica

log = structlog.get_logger()

_OUR_PREFIX = "sp_"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What engines must hold, live versions first, and the names to leave alone: the worker is publishing them."""

    hot: tuple[ServedAdapter, ...]
    live: frozenset[str]
    publishing: frozenset[str]

    @property
    def keep(self) -> frozenset[str]:
        return self.publishing | {adapter.lora_name for adapter in self.hot}


class Reconciler:
    def __init__(self, *, settings: Settings, database: Database, pool: EnginePool) -> None:
        self._settings = settings
        self._database = database
        self._pool = pool

    async def run(self) -> None:
        """Reconcile until cancelled. A pass that fails is logged, and the next one tries again."""
        while True:
            try:
                await self.step()
            except Exception:
                log.exception("reconciler.failed")
            await asyncio.sleep(self._settings.reconcile_interval_s)

    async def step(self) -> None:
        """One pass over all replicas."""
        healthy = await asyncio.gather(*(replica.is_healthy() for replica in self._pool.replicas))
        for replica, is_up in zip(self._pool.replicas, healthy, strict=True):
            if not is_up:
                self._note_down(replica)
        wanted = await run_in_threadpool(self._read_wanted)
        up = [replica for replica, is_up in zip(self._pool.replicas, healthy, strict=True) if is_up]
        await asyncio.gather(*(self._reconcile(replica, wanted) for replica in up))

    def _note_down(self, replica: Replica) -> None:
        if replica.ready:
            log.warning("engine.down", engine=replica.url)
        replica.mark_down()

    def _read_wanted(self) -> Wanted:
        with self._database.read() as session:
            adapters = AdapterRepository(session)
            answering = adapters.live()
            live = {row.lora_name for row in (*answering, *adapters.shards(*answering))}
            hot = adapters.hot(keep=self._settings.keep_versions_loaded)
            publishing = adapters.with_status(AdapterStatus.REGISTERED)
            return Wanted(
                hot=tuple(ServedAdapter.of(row) for row in sorted(hot, key=lambda row: row.lora_name not in live)),
                live=frozenset(live),
                publishing=frozenset(row.lora_name for row in publishing),
            )

    async def _reconcile(self, replica: Replica, wanted: Wanted) -> None:
        try:
            replica.loaded = frozenset(await replica.adapters())
            failed = await self._load_missing(replica, wanted)
            await self._unload_cold(replica, wanted)
        except EngineUnavailable:
            self._note_down(replica)
            return
        replica.missing = {name: reason for name, reason in failed.items() if name in wanted.live}
        if not replica.ready:
            log.info("engine.ready", engine=replica.url, adapters=len(replica.loaded), missing=len(replica.missing))
        replica.ready = True

    async def _load_missing(self, replica: Replica, wanted: Wanted) -> dict[str, str]:
        """Load what is missing. One that cannot be loaded keeps its own space waiting, and no other."""
        failed = {}
        for adapter in wanted.hot:
            if adapter.lora_name in replica.loaded:
                continue
            try:
                await self._pool.load(replica, adapter)
                log.info("adapter.loaded", engine=replica.url, adapter=adapter.lora_name)
            except (AdapterRejected, AdapterLoadFailed) as error:
                failed[adapter.lora_name] = error.message
                if adapter.lora_name not in replica.refused:
                    log.error("adapter.not_loaded", adapter=adapter.lora_name, reason=error.message)
        replica.refused = frozenset(failed)
        return failed

    async def _unload_cold(self, replica: Replica, wanted: Wanted) -> None:
        for name in replica.loaded - wanted.keep:
            if not name.startswith(_OUR_PREFIX):
                continue
            in_flight = self._pool.in_flight
            if not in_flight.running(name) and in_flight.idle_s(name) >= self._settings.unload_grace_s:
                await replica.unload(name)
                in_flight.forget(name)
                log.info("adapter.unloaded", engine=replica.url, adapter=name)
