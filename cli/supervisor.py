"""Keep a set of processes running: start, watch, restart with patience, stop in order. Knows nothing of Engram."""

import os
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from cli.guard import guarded

MAX_DEATHS_BEFORE_READY = 3
MAX_BACKOFF_S = 30.0
PROBE_INTERVAL_S = 0.5
STEADY_AFTER_S = 60.0
LOGS_KEPT = 3
LOG_TAIL_LINES = 15


class State(StrEnum):
    STARTING = "starting"
    READY = "ready"
    WAITING = "restarting"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Part:
    """One process to keep. `is_ready` is asked while it starts; it may take a moment and must not raise."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log_path: Path
    is_ready: Callable[[], bool]
    stop_grace_s: float = 10.0


class PartGaveUp(Exception):
    """A part died again and again without ever being ready."""

    def __init__(self, part: Part, exit_code: int) -> None:
        super().__init__(
            f"{part.name} ended with {describe_exit(exit_code)} before it was ready, {MAX_DEATHS_BEFORE_READY} times."
        )
        self.part = part
        self.last_log_lines = tail(part.log_path)


@dataclass(slots=True)
class Watched:
    """A part and what became of it so far."""

    part: Part
    state: State = State.STOPPED
    process: subprocess.Popen[bytes] | None = None
    was_ever_ready: bool = False
    num_deaths: int = 0
    since: float = field(default_factory=time.monotonic)
    next_look_at: float = 0.0
    backoff_s: float = 1.0

    def become(self, state: State) -> None:
        self.state, self.since = state, time.monotonic()


class Supervisor:
    """Call `start`, then `poll` a few times a second, then `stop`; all from the main thread.

    `say` is told what an operator should read: deaths and restarts.
    """

    def __init__(self, parts: Iterable[Part], *, say: Callable[[str], None]) -> None:
        self.watched = [Watched(part) for part in parts]
        self.say = say

    @property
    def all_ready(self) -> bool:
        return all(watched.state is State.READY for watched in self.watched)

    def start(self) -> None:
        for watched in self.watched:
            rotate(watched.part.log_path)
            self._launch(watched)

    def poll(self) -> None:
        """Notice deaths and readiness, restart what is due. Raises PartGaveUp."""
        for watched in self.watched:
            if watched.state is State.WAITING:
                if time.monotonic() >= watched.next_look_at:
                    self._launch(watched)
            elif watched.process is not None and (exit_code := watched.process.poll()) is not None:
                self._note_death(watched, exit_code)
            elif watched.state is State.STARTING and time.monotonic() >= watched.next_look_at:
                self._look_whether_ready(watched)
            elif time.monotonic() - watched.since > STEADY_AFTER_S:
                watched.backoff_s = 1.0

    def stop(self) -> None:
        """Stop in reverse order of starting: each part goes before those that it needs."""
        for watched in reversed(self.watched):
            self._stop_part(watched)

    def hurry(self) -> None:
        """Kill everything that is still there, now."""
        for watched in self.watched:
            if watched.process is not None and watched.process.poll() is None:
                watched.process.terminate()

    def _launch(self, watched: Watched) -> None:
        part = watched.part
        part.log_path.parent.mkdir(parents=True, exist_ok=True)
        with part.log_path.open("ab") as log:
            watched.process = subprocess.Popen(
                guarded(part.command, grace_s=part.stop_grace_s),
                env=dict(part.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # the terminal's Ctrl-C reaches the supervisor alone
            )
        watched.next_look_at = 0.0
        watched.become(State.STARTING)

    def _look_whether_ready(self, watched: Watched) -> None:
        if watched.part.is_ready():
            if watched.was_ever_ready:
                self.say(f"{watched.part.name} is ready again")
            watched.was_ever_ready = True
            watched.become(State.READY)
        watched.next_look_at = time.monotonic() + PROBE_INTERVAL_S

    def _note_death(self, watched: Watched, exit_code: int) -> None:
        part = watched.part
        watched.process = None
        watched.num_deaths += 1
        if not watched.was_ever_ready and watched.num_deaths >= MAX_DEATHS_BEFORE_READY:
            watched.become(State.STOPPED)
            raise PartGaveUp(part, exit_code)
        self.say(
            f"{part.name} ended with {describe_exit(exit_code)}; "
            f"starting it again in {watched.backoff_s:.0f} s (log: {part.log_path})"
        )
        watched.next_look_at = time.monotonic() + watched.backoff_s
        watched.backoff_s = min(watched.backoff_s * 2, MAX_BACKOFF_S)
        watched.become(State.WAITING)

    def _stop_part(self, watched: Watched) -> None:
        process = watched.process
        if process is not None and process.poll() is None:
            process.terminate()
            try:
                process.wait(timeout=watched.part.stop_grace_s + 5)  # the guard kills after the grace
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        watched.process = None
        watched.become(State.STOPPED)


def rotate(log_path: Path) -> None:
    """Move the last start's log to `.1`, older ones up, the oldest away."""
    for number in range(LOGS_KEPT, 0, -1):
        older = log_path if number == 1 else log_path.with_name(f"{log_path.name}.{number - 1}")
        if older.exists():
            os.replace(older, log_path.with_name(f"{log_path.name}.{number}"))


def tail(log_path: Path) -> list[str]:
    try:
        return log_path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
    except FileNotFoundError:
        return []


def describe_exit(exit_code: int) -> str:
    """`exit code 3`, or `signal 9`: a guard reports its command's as 137, its own death is -9."""
    if exit_code < 0 or exit_code > 128:
        return f"signal {-exit_code if exit_code < 0 else exit_code - 128}"
    return f"exit code {exit_code}"
