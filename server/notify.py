"""Ring the worker's doorbell without failing the request: its sweep finds in the database what a ring lost."""

import sqlite3
from collections.abc import Callable

import structlog
from redis.exceptions import RedisError

log = structlog.get_logger()

QUEUE_ERRORS = (OSError, sqlite3.Error, RedisError)


def ring(bell: Callable[[str], None], row_id: str) -> None:
    """Ask the worker to look at a row now. Call it after the row is committed."""
    try:
        bell(row_id)
    except QUEUE_ERRORS as error:
        log.warning("doorbell.lost", row=row_id, error=f"{type(error).__name__}: {error}")
