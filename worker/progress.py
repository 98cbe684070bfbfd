"""Report a run's progress to the database: stages with their seconds, events, and a heartbeat."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from engram.db import Database
from engram.repositories import RunRepository

log = structlog.get_logger()

HEARTBEAT_S = 5.0


class Progress:
    """Of one run. Each report is its own short transaction."""

    def __init__(self, database: Database, run_id: str) -> None:
        self.database = database
        self.run_id = run_id

    def event(self, event: str, **data: Any) -> None:
        with self.database.transaction() as session:
            RunRepository(session).add_event(self.run_id, event, data)
        log.info(f"run.{event}", run=self.run_id, **data)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Name the stage while the block runs, then store its seconds."""
        started = time.monotonic()
        with self.database.transaction() as session:
            RunRepository(session).by_id(self.run_id).stage = name
            RunRepository(session).add_event(self.run_id, "stage", {"stage": name})
        yield
        with self.database.transaction() as session:
            run = RunRepository(session).by_id(self.run_id)
            run.seconds = {**run.seconds, name: round(time.monotonic() - started, 2)}

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Keep telling that this worker is alive, so that no other takes the run over."""
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=(stop,), daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _beat(self, stop: threading.Event) -> None:
        while not stop.wait(HEARTBEAT_S):
            with self.database.transaction() as session:
                RunRepository(session).heartbeat(self.run_id)
