"""What unit tests share."""

import time
from types import SimpleNamespace

import pytest

FASTER = 20.0


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """A supervisor whose clock runs faster: its pauses between restarts pass in a blink. The order of things stays."""
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() * FASTER)
    monkeypatch.setattr("cli.supervisor.time", clock)
