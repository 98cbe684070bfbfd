"""The real base model, a real vLLM and the whole product, each started once for the whole session."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.engine import LOOPBACK, engine_command, engine_device, engine_environment
from cli.guard import guarded
from cli.preflight import ANY_PORT, reserve
from engram.settings import Settings
from engram.vllm_client import open_engines
from tests.product import Product, engram_up, wait_until
from worker import base_model

# Unpacking the base takes 20 s: it is kept between test runs, and verified by digest on every one.
CACHE = Path(__file__).resolve().parents[2] / ".cache" / "e2e"


@pytest.fixture(scope="session")
def base_model_path() -> Path:
    """The embedded base model's folder."""
    return base_model.prepare(Settings(home=CACHE))


@pytest.fixture(scope="session")
def real_engine_url(base_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a vLLM that serves the base as `base` and loads adapters at runtime."""
    home = tmp_path_factory.mktemp("engine-home")
    reserved = reserve(LOOPBACK, ANY_PORT)
    assert reserved is not None
    settings = Settings(home=home, engine_urls=f"http://{LOOPBACK}:{reserved.getsockname()[1]}")
    device = engine_device()
    command = engine_command(settings, model=str(base_model_path), device=device)
    environment = engine_environment(settings, model=str(base_model_path), device=device, inherited=os.environ)
    log_path = home / "engine.log"
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            guarded(command, grace_s=10), env=environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        )
    try:
        wait_until(open_engines(settings)[0].is_healthy, process, log_path)
        yield settings.engines[0]
    finally:
        process.terminate()
        process.wait(timeout=30)
        reserved.close()


@pytest.fixture(scope="session")
def product(base_model_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    """The whole product, as `engram up` starts it."""
    with engram_up(tmp_path_factory.mktemp("product") / "home", models=base_model_path.parent) as running:
        yield running
