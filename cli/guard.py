"""Run one command so that nothing it started outlives it, or outlives the process that asked for it.

    python guard.py PARENT_PID GRACE_S COMMAND...

SIGTERM is passed on to the command; after GRACE_S seconds, or when told twice, everything under it
is killed. The death of the parent, by kill -9 too, counts as SIGTERM. Never restarts anything.
Standard library only: one of these runs beside each part, and must start at once.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP}
WATCHED_SIGNALS = STOP_SIGNALS | {signal.SIGCHLD}
POLL_S = 0.5


def guarded(command: Sequence[str], *, grace_s: float) -> list[str]:
    """`command`, to be started by this process's main thread, with a guard around it."""
    return [sys.executable, "-IS", str(Path(__file__).absolute()), str(os.getpid()), str(grace_s), *command]


def main(arguments: Sequence[str]) -> int:
    parent_pid, grace_s, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    _prctl(PR_SET_CHILD_SUBREAPER, 1)  # descendants whose parent died become ours
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED_SIGNALS)
    _prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent_pid:  # it died before we could ask to be told
        return 1
    try:
        child = subprocess.Popen(command, start_new_session=True, preexec_fn=_prepare_child)  # noqa: PLW1509, one thread
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr)
        return 127
    exit_code = _watch(child.pid, grace_s=grace_s)
    child.returncode = exit_code  # reaped by us, not by Popen
    _kill_until_none_is_left()
    return exit_code if exit_code >= 0 else 128 - exit_code


def _watch(pid: int, *, grace_s: float) -> int:
    """Wait for the command to end; pass stop signals on. Returns its exit code, negative for a signal."""
    kill_at = float("inf")
    while (exit_code := _reap(pid)) is None:
        received = signal.sigtimedwait(WATCHED_SIGNALS, POLL_S)
        if received is not None and received.si_signo in STOP_SIGNALS:
            if kill_at == float("inf"):
                os.kill(pid, signal.SIGTERM)
                kill_at = time.monotonic() + grace_s
            else:
                kill_at = 0.0
        if time.monotonic() >= kill_at:
            _kill(_descendants(os.getpid()))
    return exit_code


def _reap(pid: int) -> int | None:
    """Collect every ended child; the exit code of `pid` if it is among them (none for -1)."""
    exit_code = None
    while True:
        try:
            ended, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return exit_code
        if ended == 0:
            return exit_code
        if ended == pid:
            exit_code = os.waitstatus_to_exitcode(status)


def _kill_until_none_is_left() -> None:
    while remaining := _descendants(os.getpid()):
        _kill(remaining)
        time.sleep(0.01)
    _reap(-1)  # leave no zombies to a pid 1 that may not collect them


def _kill(pids: Sequence[int]) -> None:
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def _descendants(root: int) -> list[int]:
    """All processes below `root`, zombies left out."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if state != "Z":
            children.setdefault(int(parent), []).append(int(stat.parent.name))
    found, to_visit = [], [root]
    while to_visit:
        below = children.get(to_visit.pop(), [])
        found += below
        to_visit += below
    return found


def _prepare_child() -> None:
    signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED_SIGNALS)
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
