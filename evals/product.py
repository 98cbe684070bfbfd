"""Find a running Engram, or start one for the length of an evaluation."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from engram.settings import Settings

START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """A running Engram. `settings` reach its database and files; None for one that runs elsewhere."""

    http: httpx.Client
    settings: Settings | None


@contextmanager
def engram_at(url: str | None) -> Iterator[Running]:
    """The Engram at `url`, or a fresh one in a temporary home that is stopped afterwards."""
    if url:
        yield Running(_client(url), None)
        return
    with tempfile.TemporaryDirectory(prefix="engram-eval-") as home:
        port = _free_port()
        process = _start(Path(home), port)
        try:
            client = _client(f"http://127.0.0.1:{port}")
            _wait_until_ready(client, process, Path(home))
            yield Running(client, settings_of(Path(home), port))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(STOP_TIMEOUT_S)


def _start(home: Path, port: int) -> subprocess.Popen[bytes]:
    shared = Settings().models_dir
    if shared.is_dir():
        (home / "models").symlink_to(shared)
    environment = {**os.environ, "ENGRAM_HOME": str(home), "ENGRAM_PORT": str(port)}
    environment["ENGRAM_ENGINE_URLS"] = f"http://127.0.0.1:{port + 1}"
    with (home / "up.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "cli.main", "up"], env=environment, stdout=log, stderr=subprocess.STDOUT
        )


def settings_of(home: Path, port: int) -> Settings:
    """The settings of the Engram that `_start` started: its engine listens on the next port."""
    return Settings(home=home, port=port, engine_urls=f"http://127.0.0.1:{port + 1}")


def _wait_until_ready(client: httpx.Client, process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _has_started(home / "logs" / "worker.log"):
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"Engram did not start:\n{(home / 'up.log').read_text()[-2000:]}")
        time.sleep(0.5)
    client.get("/readyz").raise_for_status()


def _has_started(worker_log: Path) -> bool:
    return worker_log.exists() and b"event=worker.ready" in worker_log.read_bytes()


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=180.0, trust_env=False)


def _free_port() -> int:
    """A port whose next one is free too, for the engine."""
    while True:
        with socket.socket() as server, socket.socket() as engine:
            server.bind(("127.0.0.1", 0))
            port = int(server.getsockname()[1])
            try:
                engine.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
