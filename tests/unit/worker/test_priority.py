"""The worker's priority is lowered for itself, all it starts, and its session; it is never raised."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from worker import priority
from worker.priority import stand_back


def _stand_back(*steps: int) -> tuple[int, int | None]:
    os.setsid()
    for niceness in steps:
        stand_back(niceness)
    session = int(priority.AUTOGROUP.read_text().split()[-1]) if priority.AUTOGROUP.exists() else None
    return os.nice(0), session


def _nice_after(*steps: int) -> tuple[int, int | None]:
    """Niceness of a process of its own session, and of that session where the system keeps one."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(_stand_back, *steps).result()


def test_process_and_its_session_stand_back() -> None:
    niceness, session = _nice_after(7)
    assert niceness == max(7, os.nice(0))
    assert session in {7, None}


def test_priority_is_never_raised() -> None:
    niceness, session = _nice_after(7, 3)
    assert niceness == max(7, os.nice(0))
    assert session in {7, None}


def test_system_that_knows_no_autogroups_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(priority, "AUTOGROUP", tmp_path / "none" / "autogroup")
    assert _nice_after(7) == (max(7, os.nice(0)), None)
