"""The migrations make the tables of the models, once, whoever starts, and can be undone."""

import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import inspect
from sqlalchemy.exc import OperationalError

from engram.db import Database
from engram.migrate import downgrade, upgrade
from engram.models import Base
from engram.repositories import AdapterRepository, SpaceRepository
from engram.settings import Settings
from tests.builders import adapter_version, learning_fact

ROOT = Path(__file__).parents[2]


def test_migrations_make_exactly_the_tables_of_the_models(database: Database) -> None:
    with database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_foreign_keys_are_the_models_foreign_keys(database: Database) -> None:
    inspector = inspect(database.engine)
    for table in Base.metadata.sorted_tables:
        found = {
            (tuple(key["constrained_columns"]), key["referred_table"], key["options"].get("ondelete"))
            for key in inspector.get_foreign_keys(table.name)
        }
        wanted = {
            (tuple(key.column_keys), key.referred_table.name, key.ondelete) for key in table.foreign_key_constraints
        }
        assert found == wanted


def test_upgrade_creates_home_and_keeps_data_when_it_runs_again(empty_database_url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "new" / "home", database_url=empty_database_url)
    upgrade(settings)
    assert settings.home.is_dir()
    database = Database(empty_database_url)
    with database.transaction() as session:
        SpaceRepository(session).get_or_create("local", "alice")
    upgrade(settings)
    with database.read() as session:
        assert SpaceRepository(session).get("local", "alice").live_version == 0
    database.dispose()


def test_downgrade_to_base_drops_every_table_and_upgrade_makes_them_again(
    empty_database_url: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, database_url=empty_database_url)
    upgrade(settings)
    downgrade(settings, to="base")
    assert _tables(empty_database_url) == {"alembic_version"}
    upgrade(settings)
    assert _tables(empty_database_url) == {"alembic_version", *Base.metadata.tables}


def test_processes_that_start_at_once_migrate_once(empty_database_url: str, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier = context.Barrier(3)
    processes = [
        context.Process(target=_upgrade_together, args=(str(tmp_path), empty_database_url, barrier)) for _ in range(3)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0, 0]
    assert _tables(empty_database_url) == {"alembic_version", *Base.metadata.tables}


def test_the_alembic_command_upgrades_and_sees_nothing_to_migrate(empty_database_url: str, tmp_path: Path) -> None:
    environment = {**os.environ, "ENGRAM_HOME": str(tmp_path), "ENGRAM_DATABASE_URL": empty_database_url}
    alembic = [sys.executable, "-m", "alembic", "--config", str(ROOT / "alembic.ini")]
    subprocess.run([*alembic, "upgrade", "head"], env=environment, check=True, capture_output=True)
    checked = subprocess.run([*alembic, "check"], env=environment, check=True, capture_output=True, text=True)
    assert "No new upgrade operations detected" in checked.stdout


def test_a_migration_that_fails_leaves_nothing_behind(
    empty_database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from alembic.operations import Operations

    create_table = Operations.create_table

    def fail_at_the_last(self: Operations, name: str, *args: object, **kwargs: object) -> object:
        if name == "run_facts":
            raise OperationalError("CREATE TABLE", None, OSError("no space left on device"))
        return create_table(self, name, *args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(Operations, "create_table", fail_at_the_last)
    with pytest.raises(OperationalError):
        upgrade(Settings(home=tmp_path, database_url=empty_database_url))
    assert _tables(empty_database_url) == set()


def _upgrade_together(home: str, database_url: str, barrier: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    upgrade(Settings(home=Path(home), database_url=database_url))


def _tables(url: str) -> set[str]:
    database = Database(url)
    try:
        return set(inspect(database.engine).get_table_names())
    finally:
        database.dispose()


def test_facts_of_versions_from_before_there_were_shards_are_in_the_version_s_own_weights(
    empty_database_url: str, tmp_path: Path
) -> None:
    settings = Settings(home=tmp_path, database_url=empty_database_url)
    upgrade(settings)
    database = Database(empty_database_url)
    with database.transaction() as session:
        space = SpaceRepository(session).get_or_create("local", "alice")
        cat, town = (
            learning_fact(session, space, said).id for said in ("My cat is called Biscuit.", "I live in Bergen.")
        )
        first = adapter_version(session, space, fact_ids=[town]).id
        space.live_version = 1
        second = adapter_version(session, space, elsewhere={cat: 1}).id
    database.dispose()
    downgrade(settings, to="0003")
    upgrade(settings)
    with database.read() as session:
        held = AdapterRepository(session).held
        # The second went on from the weights of the first, though it did not count what it replaced.
        assert (held(first), held(second)) == ({town: 1}, {cat: 2, town: 2})
    database.dispose()
