"""docker-compose.yml fits the code, as far as that shows without a Docker engine."""

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from cli.main import app
from engram.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
OURS = ("migrate", "vllm", "server", "worker")


def test_all_parts_are_there() -> None:
    assert set(COMPOSE["services"]) == {"postgres", "redis", *OURS}


@pytest.mark.parametrize("name", OURS)
def test_environment_names_real_settings_with_values_they_accept(name: str, tmp_path: Path) -> None:
    environment = COMPOSE["services"][name]["environment"]
    fields = {variable.removeprefix("ENGRAM_").lower(): value for variable, value in environment.items()}
    assert set(fields) <= set(Settings.model_fields)
    values = {field: re.sub(r"\$\{.*\}", "", value) for field, value in fields.items()}
    settings = Settings.model_validate({**values, "home": tmp_path})
    assert settings.auth  # off loopback the server does not start without it
    assert settings.engines == ["http://vllm:8001"]


@pytest.mark.parametrize("name", OURS)
def test_command_starts_something_that_exists(name: str) -> None:
    program, *arguments = COMPOSE["services"][name]["command"]
    if program == "engram":
        commands = typer.main.get_group(app).commands
        assert arguments[0] in commands
    else:
        assert (program, arguments[0]) == ("python", "-m")
        assert importlib.util.find_spec(arguments[1]) is not None


@pytest.mark.parametrize("name", list(COMPOSE["services"]))
def test_what_a_service_refers_to_is_defined(name: str) -> None:
    service = COMPOSE["services"][name]
    for other, condition in service.get("depends_on", {}).items():
        assert other in COMPOSE["services"]
        if condition["condition"] == "service_healthy":
            assert "healthcheck" in COMPOSE["services"][other]
    assert set(service["networks"]) <= set(COMPOSE["networks"])
    for volume in service.get("volumes", []):
        assert volume.split(":")[0] in COMPOSE["volumes"]


def test_only_the_server_is_published_and_only_on_loopback() -> None:
    published = {name: service["ports"] for name, service in COMPOSE["services"].items() if "ports" in service}
    assert list(published) == ["server"]
    assert all(port.startswith("127.0.0.1:") for port in published["server"])
