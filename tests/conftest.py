"""What all tests share: no setting leaks in from outside, and all state lives in a temporary folder."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from engram.settings import Settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*filter(lambda name: name.startswith("ENGRAM_"), os.environ), "PORT"]:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def _logs_of_this_test() -> Iterator[None]:
    """A process's log set-up writes to the standard error of its test, which pytest closes with it."""
    yield
    structlog.reset_defaults()


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The defaults, with ENGRAM_HOME in a temporary folder."""
    return Settings(home=tmp_path / "home")
