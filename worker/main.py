"""Start the worker: open everything once, sweep up what was left, then answer the doorbell until told to stop."""

import signal
import threading
import time
from collections.abc import Sequence
from functools import partial
from types import FrameType

import structlog

from engram.db import Database
from engram.errors import EngramError
from engram.logs import configure
from engram.migrate import upgrade
from engram.queue import open_doorbell
from engram.settings import Settings
from engram.vllm_client import EngineClient, open_engines
from worker import recovery
from worker.author.client import EngineAuthor, open_author
from worker.opening import OpenedBase, open_base
from worker.pipeline import Pipeline
from worker.priority import stand_back
from worker.service import Worker
from worker.torch_thread import TorchThread

log = structlog.get_logger()

CONSUMER_THREADS = 3
SWEEP_S = 10.0
ENGINE_POLL_S = 1.0
IDLE_MOMENT_S = 0.05


def main() -> None:
    settings = Settings()
    configure(settings.log_level)
    stand_back(settings.worker_niceness)
    stop = threading.Event()
    stop_on_signals(stop)
    upgrade(settings)
    engines = open_engines(settings)
    if not wait_for_engines(engines, stop):
        return
    worker = open_worker(settings, engines)
    serve(worker, stop)


def stop_on_signals(stop: threading.Event) -> None:
    """Set `stop` on SIGTERM and SIGINT."""

    def on_signal(number: int, _frame: FrameType | None) -> None:
        log.info("worker.stopping", signal=number)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)


def wait_for_engines(engines: Sequence[EngineClient], stop: threading.Event) -> bool:
    """Wait until every engine answers. False if told to stop meanwhile."""
    while not all(engine.is_healthy() for engine in engines):
        if stop.wait(ENGINE_POLL_S):
            return False
    return not stop.is_set()


def open_worker(settings: Settings, engines: Sequence[EngineClient]) -> Worker:
    """Load the base with the answers that runs compare with, load the author adapter into the engines."""
    database = Database(settings.resolved_database_url)
    torch = TorchThread()
    base = torch.run(partial(_open_base, settings))
    author = open_author(engines, fits=base.author_fits)
    pipeline = Pipeline(database, settings, engines, torch.run(base.author), base.learner)
    return Worker(database, settings, open_doorbell(settings), author, pipeline, engines, torch)


def _open_base(settings: Settings) -> OpenedBase:
    base = open_base(settings)
    base.learner.prepare(lambda done, total: log.info("worker.warming", answered=done, of=total))
    return base


def serve(worker: Worker, stop: threading.Event) -> None:
    """Answer the doorbell until `stop`; sweep now and then, since a doorbell may be missed."""
    settings, database = worker.settings, worker.database
    only_worker = settings.resolved_database_url.startswith("sqlite")
    recovery.release_orphaned_runs(database, only_worker=only_worker, stale_s=settings.worker_stale_s)
    recovery.remove_stray_files(database, settings)
    worker.doorbell.answer(extract=worker.extract, learn=worker.learn)
    consumer = worker.doorbell.huey.create_consumer(
        workers=CONSUMER_THREADS, worker_type="thread", periodic=False, initial_delay=0.05, max_delay=0.5
    )
    consumer.start()
    stop_on_signals(stop)  # the consumer has put its own handlers in their place
    log.info("worker.ready", author=worker.author.model, base=worker.pipeline.learner.base.path)
    swept, warm = 0.0, False
    while not stop.wait(0.5 if warm else IDLE_MOMENT_S):
        warm = warm or worker.warmed_up()
        if time.monotonic() - swept >= SWEEP_S:
            keep_author_loaded(worker.engines, worker.author)
            recovery.remove_withdrawn_files(database)
            if worker.doorbell.huey.pending_count() == 0:
                recovery.ring_for_unfinished(database, worker.doorbell, settings)
            swept = time.monotonic()
    # A run in progress is not waited for: it is picked up again at the next start.
    log.info("worker.stopped")


def keep_author_loaded(engines: Sequence[EngineClient], author: EngineAuthor) -> None:
    """Load the author again into an engine that was restarted."""
    for engine in engines:
        try:
            if engine.is_healthy() and author.model not in engine.loaded():
                open_author([engine], fits=True)
                log.info("author.loaded", engine=engine.url)
        except EngramError as error:  # it died between the questions; the next sweep asks again
            log.warning("author.not_loaded", engine=engine.url, reason=error.message)


if __name__ == "__main__":
    main()
