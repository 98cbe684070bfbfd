"""Say what Engram's parts are, in order of starting: their commands, environments, logs and signs of readiness."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import httpx

from cli.engine import engine_command, engine_device, engine_environment
from cli.preflight import starts_engine
from cli.supervisor import Part
from engram.errors import EngramError
from engram.settings import Settings
from engram.vllm_client import open_engines

WORKER_READY_EVENT = b"event=worker.ready"
PROBE_TIMEOUT_S = 5.0
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}


def build_parts(settings: Settings, *, model: str) -> list[Part]:
    """Engine (unless it is somebody else's), server and worker."""
    parts = [_python_part(settings, "server", is_ready=lambda: answers(f"{base_url(settings)}/readyz"))]
    worker_log = settings.logs_dir / "worker.log"
    parts.append(_python_part(settings, "worker", is_ready=lambda: has_logged(worker_log, WORKER_READY_EVENT)))
    if starts_engine(settings):
        parts.insert(0, _engine_part(settings, model=model))
    return parts


def child_environment(settings: Settings) -> dict[str, str]:
    """This process's environment, with the addresses and the home that were settled."""
    return {
        **os.environ,
        "ENGRAM_HOME": str(settings.home),
        "ENGRAM_PORT": str(settings.port),
        "ENGRAM_ENGINE_URLS": settings.engine_urls,
        "PYTHONUNBUFFERED": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",  # what the parts say goes into log files
        # Engine and trainer share the cores: a thread that waits must sleep, not spin. But between two operations of a
        # training step, about 0.1 ms, waking up takes longer than waiting.
        "OMP_WAIT_POLICY": "PASSIVE",
        "GOMP_SPINCOUNT": "10000",
        "KMP_BLOCKTIME": "0",
    }


def base_url(settings: Settings) -> str:
    """Where this machine reaches the server."""
    host = ANY_ADDRESS.get(settings.host, settings.host)
    return f"http://{f'[{host}]' if ':' in host and not host.startswith('[') else host}:{settings.port}"


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=PROBE_TIMEOUT_S, trust_env=False).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def has_logged(log_path: Path, event: bytes) -> bool:
    try:
        return event in log_path.read_bytes()
    except FileNotFoundError:
        return False


def _engine_part(settings: Settings, *, model: str) -> Part:
    device = engine_device()
    return Part(
        name="engine",
        command=engine_command(settings, model=model, device=device),
        environment=engine_environment(settings, model=model, device=device, inherited=child_environment(settings)),
        log_path=settings.logs_dir / "engine.log",
        is_ready=_warm_engine(settings),
        stop_grace_s=15,
    )


def _warm_engine(settings: Settings) -> Callable[[], bool]:
    """Ready once it has answered: the first answer compiles kernels, and no user should wait for that."""
    engine = open_engines(settings)[0]

    def is_ready() -> bool:
        try:
            return engine.is_healthy() and bool(engine.chat([{"role": "user", "content": "Say hello."}], max_tokens=8))
        except EngramError:
            return False

    return is_ready


def _python_part(settings: Settings, name: str, *, is_ready: Callable[[], bool]) -> Part:
    return Part(
        name=name,
        command=[sys.executable, "-m", f"{name}.main"],
        environment=child_environment(settings),
        log_path=settings.logs_dir / f"{name}.log",
        is_ready=is_ready,
        stop_grace_s=10,
    )
