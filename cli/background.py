"""Have an Engram to work with: the one at an address, or a fresh one that ends with the block."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console

from cli.client import CliError
from cli.engine import LOOPBACK
from cli.guard import guarded
from cli.parts import answers
from cli.preflight import any_free_port

START_TIMEOUT_S = 600.0
POLL_S = 0.3
# Longer than `engram up` needs to stop its parts one after the other.
STOP_GRACE_S = 60.0
# A fresh Engram shares nothing with the one that these may belong to.
NOT_INHERITED = ("ENGRAM_ENGINE_URLS", "ENGRAM_URL", "ENGRAM_DATABASE_URL", "ENGRAM_QUEUE_URL", "PORT")


@contextmanager
def running_engram(url: str | None, *, console: Console) -> Iterator[str]:
    """The address of a ready Engram. Without `url` one is started in a temporary home and stopped afterwards."""
    if url:
        yield url
        return
    with tempfile.TemporaryDirectory(prefix="engram-demo-") as home:
        port = any_free_port()
        address = f"http://{LOOPBACK}:{port}"
        process = start(home, port)
        try:
            wait_until_ready(process, address)
            yield address
        finally:
            console.print("stopping the Engram that was started for this", style="dim")
            process.terminate()
            process.wait()


def start(home: str, port: int) -> subprocess.Popen[bytes]:
    """`engram up` on a port and a home of its own; its output goes where ours goes."""
    environment = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    environment |= {"ENGRAM_HOME": home, "ENGRAM_PORT": str(port), "ENGRAM_HOST": LOOPBACK, "ENGRAM_AUTH": "false"}
    command = guarded([sys.executable, "-m", "cli.main", "up"], grace_s=STOP_GRACE_S)
    return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, start_new_session=True)


def wait_until_ready(process: subprocess.Popen[bytes], address: str) -> None:
    """Raises CliError if it ends instead, or takes too long."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while not answers(f"{address}/readyz"):
        if process.poll() is not None:
            raise CliError("the Engram for this could not be started; the lines above say why")
        if time.monotonic() > deadline:
            raise CliError(f"the Engram for this was not ready within {START_TIMEOUT_S:.0f} s")
        time.sleep(POLL_S)
