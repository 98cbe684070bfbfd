"""Run the whole product in the foreground: prepare, start, show, keep running, stop. `engram up`."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import NoReturn

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

from cli.engine import engine_command, engine_device, engine_environment
from cli.guard import guarded
from cli.parts import base_url, build_parts, child_environment
from cli.preflight import own_addresses, own_home
from cli.supervisor import PartGaveUp, State, Supervisor, Watched, tail
from engram.errors import EngramError
from engram.migrate import upgrade
from engram.settings import Settings

POLL_S = 0.2
_COLOURS = {State.STARTING: "yellow", State.READY: "green", State.WAITING: "red", State.STOPPED: "dim"}


class StartFailed(Exception):
    """Something that every start needs did not work; the message says what."""


def run(settings: Settings, *, console: Console) -> int:
    """Run until told to stop. Returns the exit code: 0 for a stop that was asked for."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    say = teller(console)
    try:
        with own_home(settings), own_addresses(settings) as settled:
            return _run_in_home(settled, console, say)
    except KeyboardInterrupt:
        say("Stopped before anything ran.")
        return 0
    except (EngramError, StartFailed, OSError) as error:
        say(f"Engram did not start: {error}", style="red")
        return 1


def teller(console: Console) -> Callable[..., None]:
    """Print whole lines as they are: paths and commands stay in one piece, for copying."""

    def say(message: str, *, style: str | None = None) -> None:
        console.print(message, style=style, markup=False, highlight=False, soft_wrap=True)

    return say


def _run_in_home(settings: Settings, console: Console, say: Callable[..., None]) -> int:
    started_at = time.monotonic()
    say(f"Engram's home is {settings.home}")
    upgrade(settings)
    say("database ready")
    model = prepare_model(settings, say)
    supervisor = Supervisor(build_parts(settings, model=model), say=lambda text: say(text, style="yellow"))
    try:
        supervisor.start()
        wait_until_ready(supervisor, console, say)
        say(summary(settings, time.monotonic() - started_at))
        while True:
            supervisor.poll()
            time.sleep(POLL_S)
    except PartGaveUp as error:
        say(f"\n{error} The end of {error.part.log_path}:\n", style="red")
        say("\n".join(f"    {line}" for line in error.last_log_lines))
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        stop(supervisor, say)


def prepare_model(settings: Settings, say: Callable[..., None]) -> str:
    """Have the worker's side unpack and verify the base model; it alone may import torch. Raises StartFailed."""
    settings.logs_dir.mkdir(parents=True, exist_ok=True)
    log_path = settings.logs_dir / "model.log"
    command = guarded([sys.executable, "-m", "worker.base_model"], grace_s=2)
    lines: list[str] = []
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            command, env=child_environment(settings), stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )
        assert process.stdout is not None
        for line in process.stdout:
            if lines:  # the last one is the path, for us
                say(f"model: {lines[-1]}")
            lines.append(line.decode().rstrip())
        exit_code = process.wait()
    if exit_code != 0 or not lines:
        raise StartFailed("the base model could not be prepared:\n" + "\n".join(tail(log_path)))
    return lines[-1]


def become_engine(settings: Settings, *, host: str, console: Console) -> NoReturn:
    """Prepare the base model and turn this process into vLLM."""
    settings = settings.model_copy(update={"home": settings.home.expanduser().absolute()})
    model, device = prepare_model(settings, teller(console)), engine_device()
    command = engine_command(settings, model=model, device=device, host=host)
    inherited = child_environment(settings)
    os.execve(command[0], command, engine_environment(settings, model=model, device=device, inherited=inherited))


def wait_until_ready(supervisor: Supervisor, console: Console, say: Callable[..., None]) -> None:
    """Show each part's state until all are ready: in place in a terminal, a line a change elsewhere."""
    if not console.is_terminal:
        shown: dict[str, State] = {}
        while not supervisor.all_ready:
            supervisor.poll()
            _say_changes(supervisor, shown, say)
            time.sleep(POLL_S)
        return
    spinner = Spinner("dots")
    with Live(get_renderable=lambda: _states(supervisor, spinner), console=console, refresh_per_second=8):
        while not supervisor.all_ready:
            supervisor.poll()
            time.sleep(POLL_S)


def stop(supervisor: Supervisor, say: Callable[..., None]) -> None:
    """Stop everything; a second Ctrl-C does it at once."""
    say("Stopping Engram (Ctrl-C again to hurry) ...")
    try:
        supervisor.stop()
    except KeyboardInterrupt:
        supervisor.hurry()
        supervisor.stop()
    say("Stopped.")


def summary(settings: Settings, seconds: float) -> str:
    """What a user wants to copy once everything runs."""
    url = base_url(settings)
    key = ' -H "Authorization: Bearer $ENGRAM_API_KEY"' if settings.auth else ""
    body = '{"model": "engram", "messages": [{"role": "user", "content": "My dog is called Biscuit."}]}'
    logs = settings.logs_dir
    lines = [
        f"\nEngram is ready at {url} ({seconds:.0f} s)\n",
        f"  curl {url}/v1/chat/completions -H 'Content-Type: application/json'{key} -d '{body}'\n",
        f"  console  {url}/ops",
        f"  logs     {logs}/engine.log, server.log, worker.log",
        f"  demo     make demo URL={url}",
        "  stop     Ctrl-C\n",
    ]
    if settings.auth:
        lines.insert(2, "  a key    engram keys create --tenant local --scopes chat,facts,ops")
    return "\n".join(lines)


def _say_changes(supervisor: Supervisor, shown: dict[str, State], say: Callable[..., None]) -> None:
    for watched in supervisor.watched:
        name = watched.part.name
        if shown.get(name) is not watched.state:
            shown[name] = watched.state
            say(f"{name}: {watched.state.value}")


def _states(supervisor: Supervisor, spinner: Spinner) -> Group:
    return Group(*(_state_line(watched, spinner) for watched in supervisor.watched))


def _state_line(watched: Watched, spinner: Spinner) -> Text:
    sign = "✓" if watched.state is State.READY else spinner.render(time.monotonic())
    seconds = f"{time.monotonic() - watched.since:.0f} s" if watched.state is State.STARTING else ""
    return Text.assemble(
        f"{sign} {watched.part.name:8}", (f"{watched.state.value:10}", _COLOURS[watched.state]), (seconds, "dim")
    )


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
