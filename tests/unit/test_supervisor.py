"""The supervisor and its guards, with real small processes as children."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cli.guard import guarded
from cli.supervisor import LOGS_KEPT, Part, PartGaveUp, State, Supervisor, rotate

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(600)"
)
FAR_GRANDCHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""
SUPERVISE = """
import sys, time
from pathlib import Path
from cli.supervisor import Part, Supervisor
supervisor = Supervisor(
    [Part("far", [sys.executable, "-c", sys.argv[1]], {}, Path(sys.argv[2]), lambda: True, stop_grace_s=1)], say=print
)
supervisor.start()
while True:
    supervisor.poll()
    time.sleep(0.05)
"""


def wait_for(condition: Callable[[], object], *, timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def part(tmp_path: Path, code: str, *, name: str = "part", is_ready: Callable[[], bool] = lambda: True) -> Part:
    command = [sys.executable, "-c", code]
    return Part(name, command, dict(os.environ), tmp_path / "logs" / f"{name}.log", is_ready, stop_grace_s=0.2)


def poll_until(supervisor: Supervisor, condition: Callable[[], object]) -> None:
    def polled() -> object:
        supervisor.poll()
        return condition()

    wait_for(polled, timeout_s=20)


def printed_pid(log: Path) -> int | None:
    return int(log.read_text()) if log.exists() and log.read_text().endswith("\n") else None


@pytest.mark.usefixtures("hurried")
def test_part_that_dies_at_every_start_is_given_up_with_its_last_words(tmp_path: Path) -> None:
    said: list[str] = []
    dying = part(tmp_path, "print('no weights here'); raise SystemExit(3)", is_ready=lambda: False)
    supervisor = Supervisor([dying], say=said.append)
    supervisor.start()
    with pytest.raises(PartGaveUp, match="exit code 3 before it was ready, 3 times") as caught:
        poll_until(supervisor, lambda: False)
    assert caught.value.last_log_lines == ["no weights here"] * 3
    assert [line.split("again in ")[1].split()[0] for line in said] == ["1", "2"]


@pytest.mark.usefixtures("hurried")
def test_part_that_was_ready_is_restarted_after_it_dies(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = Supervisor([part(tmp_path, "import time; time.sleep(600)")], say=said.append)
    supervisor.start()
    poll_until(supervisor, lambda: supervisor.all_ready)
    first = supervisor.watched[0].process
    assert first is not None
    os.kill(first.pid, signal.SIGKILL)
    poll_until(supervisor, lambda: supervisor.watched[0].state is State.WAITING)
    poll_until(supervisor, lambda: supervisor.all_ready)
    assert "part ended with signal 9" in said[0]
    assert said[-1] == "part is ready again"
    supervisor.stop()


def test_stop_goes_in_reverse_order_and_kills_what_ignores_it(tmp_path: Path) -> None:
    order: list[str] = []

    class Recording(Supervisor):
        def _stop_part(self, watched) -> None:  # type: ignore[no-untyped-def]
            super()._stop_part(watched)
            order.append(watched.part.name)

    logs = tmp_path / "logs"
    parts = [part(tmp_path, STUBBORN, name=name) for name in ("engine", "worker", "server")]
    supervisor = Recording(parts, say=print)
    supervisor.start()
    wait_for(lambda: all((logs / f"{p.name}.log").read_text() for p in parts))
    pids = [watched.process.pid for watched in supervisor.watched if watched.process]
    supervisor.stop()
    assert order == ["server", "worker", "engine"]
    assert not any(is_running(pid) for pid in pids)


def test_grandchild_in_its_own_session_dies_with_its_part(tmp_path: Path) -> None:
    supervisor = Supervisor([part(tmp_path, FAR_GRANDCHILD)], say=print)
    supervisor.start()
    log = tmp_path / "logs" / "part.log"
    wait_for(lambda: printed_pid(log))
    grandchild = printed_pid(log)
    assert grandchild is not None
    assert is_running(grandchild)
    supervisor.stop()
    assert not is_running(grandchild)


def test_killing_the_supervisor_with_kill_9_leaves_no_orphan(tmp_path: Path) -> None:
    log = tmp_path / "far.log"
    supervisor = subprocess.Popen([sys.executable, "-c", SUPERVISE, FAR_GRANDCHILD, str(log)], start_new_session=True)
    wait_for(lambda: printed_pid(log))
    grandchild = printed_pid(log)
    assert grandchild is not None
    assert is_running(grandchild)
    supervisor.kill()
    supervisor.wait()
    wait_for(lambda: not is_running(grandchild))


def test_guard_returns_what_its_command_returned_and_sweeps_what_it_left() -> None:
    leaving = f"import subprocess, sys; print(subprocess.Popen(['{sys.executable}', '-c', '{'import time; time.sleep(600)'}'], start_new_session=True).pid); sys.exit(7)"  # noqa: E501
    ended = subprocess.run(
        guarded([sys.executable, "-c", leaving], grace_s=1), stdout=subprocess.PIPE, text=True, check=False, timeout=10
    )
    assert ended.returncode == 7
    assert not is_running(int(ended.stdout))


def test_guard_says_which_command_is_missing() -> None:
    ended = subprocess.run(guarded(["/no/such/engine"], grace_s=1), capture_output=True, text=True, check=False)
    assert ended.returncode == 127
    assert "/no/such/engine cannot be started" in ended.stderr


def test_guard_kills_at_once_when_told_twice(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with log.open("wb") as output:
        guard = subprocess.Popen(guarded([sys.executable, "-c", STUBBORN], grace_s=60), stdout=output)
    wait_for(log.read_text)
    guard.terminate()
    time.sleep(0.1)
    assert guard.poll() is None
    guard.terminate()
    assert guard.wait(timeout=5) == 128 + signal.SIGKILL


def test_rotation_keeps_the_last_logs_and_drops_older_ones(tmp_path: Path) -> None:
    log = tmp_path / "engine.log"
    for start in range(LOGS_KEPT + 2):
        rotate(log)
        log.write_text(str(start))
    kept = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert kept == {"engine.log": "4", "engine.log.1": "3", "engine.log.2": "2", "engine.log.3": "1"}
