"""Have an Engram to work with: the one at an address, or a fresh one that ends with the block."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from cli.client import CliError
from cli.engine import LOOPBACK
from cli.guard import guarded
from cli.parts import WORKER_READY_EVENT, answers, base_url, child_environment, has_logged
from cli.preflight import free_ports
from engram.settings import Settings

START_TIMEOUT_S = 600.0
POLL_S = 0.3
# Longer than `engram up` needs to stop its parts one after the other.
STOP_GRACE_S = 60.0


@contextmanager
def running_engram(url: str | None, *, console: Console) -> Iterator[str]:
    """The address of a ready Engram: the one at `url`, or else a fresh one."""
    if url:
        yield url
        return
    with fresh_engram(console=console) as settings:
        yield base_url(settings)


@contextmanager
def fresh_engram(*, console: Console) -> Iterator[Settings]:
    """The settings of an Engram that is started for this block and is ready: with them its database and files are
    reached. It has free ports and an empty home, but the models of this machine's own, which take minutes to prepare.
    """
    with tempfile.TemporaryDirectory(prefix="engram-") as home:
        settings = fresh_settings(Path(home))
        share_models(settings)
        process = start(settings)
        try:
            wait_until_ready(process, settings)
            yield settings
        finally:
            console.print("stopping the Engram that was started for this", style="dim")
            process.terminate()
            process.wait()


def fresh_settings(home: Path) -> Settings:
    """As the environment has them, but for what would belong to another Engram: its addresses, database and queue."""
    port, engine_port = free_ports(2)
    return Settings(
        home=home,
        host=LOOPBACK,
        port=port,
        auth=False,
        engine_urls=f"http://{LOOPBACK}:{engine_port}",
        database_url="",
        queue_url="",
    )


def share_models(settings: Settings) -> None:
    """Have the home use the models of this machine's own; what is prepared for one serves both."""
    own = Settings().models_dir
    own.mkdir(parents=True, exist_ok=True)
    settings.models_dir.symlink_to(own)


def start(settings: Settings) -> subprocess.Popen[bytes]:
    """`engram up` with these addresses and this home; its output goes where ours goes."""
    environment = child_environment(settings) | {
        "ENGRAM_HOST": settings.host,
        "ENGRAM_DATABASE_URL": settings.database_url,
        "ENGRAM_QUEUE_URL": settings.queue_url,
        "ENGRAM_AUTH": "false",
    }
    command = guarded([sys.executable, "-m", "cli.main", "up"], grace_s=STOP_GRACE_S)
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)


def wait_until_ready(process: subprocess.Popen[bytes], settings: Settings) -> None:
    """Until the server answers and the worker can learn. Raises CliError if it ends instead, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    worker_log = settings.logs_dir / "worker.log"
    while not (answers(f"{base_url(settings)}/readyz") and has_logged(worker_log, WORKER_READY_EVENT)):
        if process.poll() is not None:
            raise CliError("the Engram for this could not be started; the lines above say why")
        if time.monotonic() > deadline:
            raise CliError(f"the Engram for this was not ready within {START_TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)
