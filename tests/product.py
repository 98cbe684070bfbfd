"""Start real processes for a test and wait for them: `engram up` as a whole, or any one with a sign of readiness."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.parts import answers
from cli.preflight import any_free_port

START_TIMEOUT_S = 300.0


@dataclass(frozen=True, slots=True)
class Product:
    """A running `engram up`. `output` is a file with everything it printed."""

    url: str
    home: Path
    process: subprocess.Popen[bytes]
    output: Path


@contextmanager
def engram_up(home: Path, *, models: Path, **settings: str) -> Iterator[Product]:
    """Start `engram up` on a free port, wait until it is ready, stop it afterwards. `models` has the unpacked base."""
    home.mkdir(parents=True, exist_ok=True)
    (home / "models").symlink_to(models)
    port = any_free_port()
    environment = {**os.environ, "ENGRAM_HOME": str(home), "ENGRAM_PORT": str(port), **settings}
    output = home / "up.txt"
    with output.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    product = Product(f"http://127.0.0.1:{port}", home, process, output)
    try:
        wait_until(lambda: answers(f"{product.url}/readyz") and "is ready at" in output.read_text(), process, output)
        yield product
    finally:
        process.terminate()
        process.wait(timeout=60)


def wait_until(ready: Callable[[], bool], process: subprocess.Popen[bytes], output: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"it did not start:\n{output.read_text()[-3000:]}")
        time.sleep(0.5)
