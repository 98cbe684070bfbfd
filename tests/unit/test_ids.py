"""Ids sort by creation, whoever makes them and whatever the clock does."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from engram import ids
from engram.ids import new_id


def test_ids_made_one_after_another_sort_strictly() -> None:
    made = [new_id("fact") for _ in range(20_000)]
    assert made == sorted(set(made))


def test_threads_make_no_id_twice_and_each_sees_its_own_in_order() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: [new_id("msg") for _ in range(2_000)], range(8)))
    assert all(batch == sorted(batch) for batch in made)
    assert len({one for batch in made for one in batch}) == 16_000


def test_an_id_made_after_another_thread_was_done_sorts_after_its_ids() -> None:
    with ThreadPoolExecutor(1) as pool:
        before = pool.submit(new_id, "run").result()
    assert before < new_id("run")


def test_a_clock_that_is_set_back_does_not_break_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    before = new_id("run")
    now_ns = time.time_ns()
    monkeypatch.setattr(ids.time, "time_ns", lambda: now_ns - 3_600_000_000_000)
    assert before < new_id("run") < new_id("run")


def test_an_id_says_what_it_names_and_has_one_length() -> None:
    made = new_id("conv")
    assert made.startswith("conv_")
    assert len(made) == len("conv_") + 20
    int(made.removeprefix("conv_"), 16)
