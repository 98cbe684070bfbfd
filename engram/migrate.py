"""Bring the database to this version's schema, or back. Knows no table; the steps are in `migrations/`."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, event, make_url, text

from engram.db import Database
from engram.settings import Settings

# Beside `engram/` in a checkout and in an installed package alike.
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"

_ADVISORY_LOCK = 0x656E6772616D  # "engram": one migration at a time on a PostgreSQL database


def upgrade(settings: Settings) -> None:
    """Create or update all tables, and ENGRAM_HOME. Safe when several processes start at once."""
    settings.home.mkdir(parents=True, exist_ok=True)
    _migrate(settings.resolved_database_url, lambda config: command.upgrade(config, "head"))


def downgrade(settings: Settings, *, to: str) -> None:
    """Go back to revision `to`; `base` drops every table."""
    _migrate(settings.resolved_database_url, lambda config: command.downgrade(config, to))


def _migrate(url: str, run: Callable[[Config], None]) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    with _alone(url), _connection(url) as connection:
        config.attributes["connection"] = connection
        run(config)


@contextmanager
def _connection(url: str) -> Iterator[Connection]:
    """One transaction for the whole migration: it is there completely or not at all."""
    database = Database(url)
    is_sqlite = database.engine.dialect.name == "sqlite"
    if is_sqlite:
        # Batch mode drops and re-creates tables; with foreign keys on, that would delete the rows that refer to them.
        event.listen(database.engine, "connect", _foreign_keys_off)
    try:
        with database.engine.begin() as connection:
            if not is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection
            if is_sqlite and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
                raise RuntimeError(f"the migration left a dangling reference: {tuple(broken)}")
    finally:
        database.dispose()


@contextmanager
def _alone(url: str) -> Iterator[None]:
    """Hold a lock file beside an SQLite database: switching a new file to WAL does not wait for another process."""
    path = make_url(url).database
    if not url.startswith("sqlite") or path in (None, "", ":memory:"):
        yield
        return
    Path(str(path)).parent.mkdir(parents=True, exist_ok=True)
    with Path(f"{path}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _foreign_keys_off(connection: Any, _record: Any) -> None:
    connection.execute("PRAGMA foreign_keys=OFF")
