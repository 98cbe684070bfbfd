"""`engram up` with all real parts: it starts, answers, recovers, and leaves nothing behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import openai
import psutil
import pytest

from tests.product import Product, engram_up

pytestmark = pytest.mark.e2e

CHAT = {"model": "engram", "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 5}


def wait_for(condition: Callable[[], object], *, timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.3)


def chat_status(product: Product) -> int:
    return httpx.post(f"{product.url}/v1/chat/completions", json=CHAT, timeout=120).status_code


def engine_process(product: Product) -> psutil.Process:
    """The vLLM API server itself, not its guard."""
    below = psutil.Process(product.process.pid).children(recursive=True)
    return next(
        process for process in below if process.cmdline()[1:3] == ["-m", "vllm.entrypoints.launchers.api_server.entry"]
    )


def test_product_starts_answers_recovers_from_a_killed_engine_and_stops_without_a_trace(
    base_model_path: Path, tmp_path: Path
) -> None:
    with engram_up(tmp_path / "home", models=base_model_path.parent) as product:
        client = openai.OpenAI(base_url=f"{product.url}/v1", api_key="none")
        answer = client.chat.completions.create(**CHAT)  # type: ignore[call-overload]
        assert answer.choices[0].message.content

        engine_process(product).kill()
        wait_for(lambda: chat_status(product) == 503, timeout_s=20)
        wait_for(lambda: chat_status(product) == 200, timeout_s=180)
        assert "engine ended with signal 9" in product.output.read_text()

        started = psutil.Process(product.process.pid).children(recursive=True)
        assert len(started) >= 6  # three guards, three parts
        product.process.send_signal(signal.SIGINT)
        assert product.process.wait(timeout=60) == 0
        assert not [process for process in started if process.is_running()]


def test_second_engram_in_the_same_home_says_so(product: Product) -> None:
    environment = {**os.environ, "ENGRAM_HOME": str(product.home), "ENGRAM_PORT": "1"}
    second = subprocess.run(
        [sys.executable, "-m", "cli.main", "up"], env=environment, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"{product.home} is in use by another Engram" in second.stdout


def test_second_engram_on_the_same_port_says_which_setting_to_change(product: Product, tmp_path: Path) -> None:
    port = product.url.rpartition(":")[2]
    environment = {**os.environ, "ENGRAM_HOME": str(tmp_path / "other"), "ENGRAM_PORT": port}
    second = subprocess.run(
        [sys.executable, "-m", "cli.main", "up"], env=environment, capture_output=True, text=True, check=False
    )
    assert second.returncode == 1
    assert f"port {port} on 127.0.0.1 is taken" in second.stdout


def test_status_command_tells_that_everything_is_ready(product: Product) -> None:
    status = subprocess.run(
        [sys.executable, "-m", "cli.main", "status", "--url", product.url], capture_output=True, text=True, check=False
    )
    assert status.returncode == 0, status.stderr
    assert f"{product.url} is ready" in status.stdout
