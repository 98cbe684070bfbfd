"""kill -9 in the middle of transactions: what was committed is whole, what was not is gone, the file opens."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engram.db import Database
from engram.lifecycle import FactStatus
from engram.migrate import upgrade
from engram.models import AuditEvent
from engram.promotion import make_live
from engram.queue import open_doorbell
from engram.repositories import AdapterRepository, FactRepository, SpaceRepository
from engram.settings import Settings
from tests.builders import adapter_version, learning_fact

PROBES_PER_FACT = 5

WRITE_FACTS = f"""
import sys
from engram.db import Database
from engram.repositories import FactRepository
database = Database(sys.argv[1])
number = 0
while True:
    with database.transaction() as session:
        facts = FactRepository(session)
        fact = facts.add(sys.argv[2], f"Fact {{number}}.")
        for probe in range({PROBES_PER_FACT}):
            facts.add_probe(fact.id, kind="reliability", origin="user", question=f"{{probe}}?", answers=["yes"])
            session.flush()
    number += 1
    print(number, flush=True)
"""

MOVE_ALIAS = """
import sys
from engram.db import Database
from engram.promotion import make_live
database = Database(sys.argv[1])
number = 0
while True:
    with database.transaction() as session:
        make_live(session, sys.argv[2], number % 3, actor="child", action="promote", reason="again")
    number += 1
    print(number, flush=True)
"""

RING = """
import sys
from pathlib import Path
from engram.queue import open_doorbell
from engram.settings import Settings
doorbell = open_doorbell(Settings(home=Path(sys.argv[1])))
number = 0
while True:
    doorbell.extract(f"msg_{number}")
    number += 1
    print(number, flush=True)
"""


def _run_and_kill(script: str, *args: str, after_s: float) -> int:
    """Run a child, kill it -9 some time after its first round, and return the rounds that it said were done."""
    child = subprocess.Popen([sys.executable, "-c", script, *args], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    first = child.stdout.readline()
    time.sleep(after_s)
    child.kill()
    lines = [first, *child.stdout.read().splitlines(keepends=True)]
    assert child.wait() == -signal.SIGKILL
    return max(int(line) for line in lines if line.endswith("\n"))


@pytest.fixture
def migrated(settings: Settings) -> Settings:
    upgrade(settings)
    return settings


@pytest.mark.parametrize("after_s", [0.05, 0.11, 0.23])
def test_a_fact_is_there_with_all_its_probes_or_not_at_all(migrated: Settings, after_s: float) -> None:
    database = Database(migrated.resolved_database_url)
    with database.transaction() as session:
        space = SpaceRepository(session).get_or_create("local", "alice")
    said = _run_and_kill(WRITE_FACTS, migrated.resolved_database_url, space.id, after_s=after_s)
    with database.transaction() as session:
        facts = FactRepository(session).with_status(space.id, FactStatus.PENDING)
        assert said <= len(facts) <= said + 1
        for fact in facts:
            assert len(FactRepository(session).probes([fact.id])) == PROBES_PER_FACT
        assert session.connection().exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    database.dispose()


@pytest.mark.parametrize("after_s", [0.05, 0.17])
def test_the_alias_its_period_and_its_audit_agree(migrated: Settings, after_s: float) -> None:
    database = Database(migrated.resolved_database_url)
    with database.transaction() as session:
        space = SpaceRepository(session).get_or_create("local", "alice")
        fact = learning_fact(session, space, "My cat is Biscuit.")
        adapter_version(session, space)
        adapter_version(session, space, fact_ids=[fact.id])
        make_live(session, space.id, 1, actor="test", action="publish", reason="start")
    _run_and_kill(MOVE_ALIAS, migrated.resolved_database_url, space.id, after_s=after_s)
    with database.read() as session:
        live = SpaceRepository(session).by_id(space.id).live_version
        open_periods = [p for p in AdapterRepository(session).live_periods(space.id) if p.until_at is None]
        newest = session.query(AuditEvent).order_by(AuditEvent.id.desc()).first()
        is_live = bool(FactRepository(session).with_status(space.id, FactStatus.LIVE))
    assert [period.version for period in open_periods] == [live]
    assert newest is not None
    assert newest.new == {"live_version": live}
    assert is_live == (live == 2)
    database.dispose()


def test_no_job_that_was_rung_is_lost_from_the_queue_file(settings: Settings) -> None:
    said = _run_and_kill(RING, str(settings.home), after_s=0.1)
    doorbell = open_doorbell(settings)
    assert said <= doorbell.huey.pending_count() <= said + 1
    doorbell.huey.storage.close()


def test_a_database_killed_during_its_first_migration_migrates_at_the_next_start(tmp_path: Path) -> None:
    script = "import sys; from pathlib import Path; from engram.migrate import upgrade; "
    script += "from engram.settings import Settings; print(1, flush=True); upgrade(Settings(home=Path(sys.argv[1])))"
    for number, after_s in enumerate((0.0, 0.01, 0.03, 0.06)):
        settings = Settings(home=tmp_path / str(number))
        child = subprocess.Popen([sys.executable, "-c", script, str(settings.home)], stdout=subprocess.PIPE)
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(after_s)
        child.kill()
        child.wait()
        child.stdout.close()
        upgrade(settings)
        database = Database(settings.resolved_database_url)
        with database.transaction() as session:
            SpaceRepository(session).get_or_create("local", "alice")
        database.dispose()
