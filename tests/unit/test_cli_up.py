"""What `engram up` checks before it starts, and what it says and does when a part fails. Children are small fakes."""

import multiprocessing
import os
import socket
import sys
import time
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from cli import up
from cli.engine import engine_port
from cli.preflight import NUM_PORTS, any_free_port, own_addresses, own_home, reserve, starts_engine
from cli.supervisor import Part
from engram.errors import Conflict
from engram.settings import Settings


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def port_before_a_free_one() -> int:
    """Most are: the one after may be held by a connection of this machine."""
    for _ in range(100):
        port = any_free_port()
        if following := reserve("127.0.0.1", (port + 1) % NUM_PORTS):
            following.close()
            return port
    pytest.fail("no two free ports side by side")


def hold_home(home: Path, held: "multiprocessing.synchronize.Event") -> None:
    with own_home(Settings(home=home, port=8123)):
        held.set()
        time.sleep(60)


def test_second_engram_in_one_home_is_told_who_has_it(tmp_path: Path) -> None:
    held = multiprocessing.Event()
    other = multiprocessing.Process(target=hold_home, args=(tmp_path, held))
    other.start()
    try:
        assert held.wait(10)
        with (
            pytest.raises(Conflict, match=r"in use by another Engram \(port 8123\).*ENGRAM_HOME"),
            own_home(Settings(home=tmp_path)),
        ):
            pass
    finally:
        other.kill()
        other.join()
    with own_home(Settings(home=tmp_path)):  # a lock dies with its process
        pass


def test_taken_server_port_is_named_with_the_setting_to_change(tmp_path: Path, taken_port: int) -> None:
    with (
        pytest.raises(Conflict, match=f"port {taken_port} on 127.0.0.1 is taken.*set PORT"),
        own_addresses(Settings(home=tmp_path, port=taken_port)),
    ):
        pass


def test_taken_chosen_engine_port_is_named_with_the_setting_to_change(tmp_path: Path, taken_port: int) -> None:
    settings = Settings(home=tmp_path, port=any_free_port(), engine_urls=f"http://127.0.0.1:{taken_port}")
    with pytest.raises(Conflict, match=f"{taken_port} is taken.*ENGRAM_ENGINE_URLS"), own_addresses(settings):
        pass


def test_engine_takes_the_port_after_the_servers_when_nobody_chose_one(tmp_path: Path) -> None:
    port = port_before_a_free_one()
    with own_addresses(Settings(home=tmp_path, port=port)) as settled:
        assert settled.engines == [f"http://127.0.0.1:{port + 1}"]


def test_engine_takes_another_port_when_the_one_after_is_taken(tmp_path: Path) -> None:
    port = port_before_a_free_one()
    with socket.create_server(("127.0.0.1", port + 1)), own_addresses(Settings(home=tmp_path, port=port)) as settled:
        assert settled.engines != [f"http://127.0.0.1:{port + 1}"]


def test_engine_of_the_highest_server_port_takes_any_free_one(tmp_path: Path) -> None:
    with own_addresses(Settings(home=tmp_path, port=65535)) as settled:
        assert 0 < engine_port(settled) < 65535


def test_held_port_is_given_to_nobody_but_a_server_that_asks_for_it_by_name() -> None:
    port = any_free_port()
    held = reserve("127.0.0.1", port)
    assert held is not None
    with held:
        with socket.socket() as outgoing, pytest.raises(OSError, match="in use"):
            outgoing.bind(("127.0.0.1", port))
        with socket.create_server(("127.0.0.1", port)) as server:  # sets SO_REUSEADDR, as vLLM and uvicorn do
            socket.create_connection(server.getsockname()).close()
            assert reserve("127.0.0.1", port) is None


def test_engine_elsewhere_is_not_ours_to_start(tmp_path: Path) -> None:
    assert not starts_engine(Settings(home=tmp_path, engine_urls="http://10.1.2.3:8001"))
    assert starts_engine(Settings(home=tmp_path, engine_urls="http://localhost:8001"))


def run_with(parts: list[Part], settings: Settings, monkeypatch: pytest.MonkeyPatch) -> tuple[int, str]:
    output = StringIO()
    monkeypatch.setattr(up, "build_parts", lambda *_args, **_options: parts)
    monkeypatch.setattr(up, "prepare_model", lambda *_args: "/models/base")
    return up.run(settings, console=Console(file=output)), output.getvalue()


def fake(settings: Settings, name: str, code: str, *, ready: bool) -> Part:
    log = settings.logs_dir / f"{name}.log"
    return Part(name, [sys.executable, "-c", code], dict(os.environ), log, lambda: ready, stop_grace_s=1)


@pytest.mark.usefixtures("hurried")
def test_part_that_cannot_start_ends_everything_with_its_last_words(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings.model_copy(update={"port": any_free_port()})
    marker = settings.home / "pid"
    sleeper = f"import os, pathlib, time; pathlib.Path({str(marker)!r}).write_text(str(os.getpid())); time.sleep(600)"
    parts = [
        fake(settings, "server", sleeper, ready=True),
        fake(settings, "engine", "raise SystemExit('out of memory')", ready=False),
    ]
    exit_code, said = run_with(parts, settings, monkeypatch)
    assert exit_code == 1
    assert "engine ended with exit code 1 before it was ready, 3 times" in said
    assert "out of memory" in said
    assert not Path(f"/proc/{marker.read_text()}").exists()


def test_taken_port_is_one_clear_line_and_exit_code_1(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, taken_port: int
) -> None:
    exit_code, said = run_with([], settings.model_copy(update={"port": taken_port}), monkeypatch)
    assert exit_code == 1
    assert said.startswith(f"Engram did not start: port {taken_port}")


def test_summary_has_a_curl_that_can_be_copied_in_one_piece(settings: Settings) -> None:
    line = next(line for line in up.summary(settings, 12.0).splitlines() if "curl" in line)
    assert "http://127.0.0.1:8000/v1/chat/completions" in line
    assert line.endswith("}]}'")
    assert "Authorization" not in line
    assert "$ENGRAM_API_KEY" in up.summary(settings.model_copy(update={"auth": True}), 12.0)
