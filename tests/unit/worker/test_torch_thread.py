"""All of a worker's torch work is done in one thread, and its errors reach whoever waits."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from worker.torch_thread import TorchThread


def test_everything_runs_in_one_thread_whoever_asks() -> None:
    torch = TorchThread()
    with ThreadPoolExecutor(3) as callers:
        threads = list(callers.map(lambda _: torch.run(threading.get_ident), range(12)))
    assert len(set(threads)) == 1
    assert threads[0] != threading.get_ident()


def test_one_call_at_a_time() -> None:
    torch, running, most = TorchThread(), [0], [0]

    def call() -> None:
        running[0] += 1
        most[0] = max(most[0], running[0])
        threading.Event().wait(0.01)
        running[0] -= 1

    with ThreadPoolExecutor(3) as callers:
        list(callers.map(lambda _: torch.run(call), range(6)))
    assert most == [1]


@pytest.mark.parametrize("error", [ValueError("bad"), SystemExit(3)])
def test_caller_gets_the_error_and_the_next_call_is_served(error: BaseException) -> None:
    torch = TorchThread()

    def fail() -> None:
        raise error

    with pytest.raises(type(error)):
        torch.run(fail)
    assert torch.run(lambda: 5) == 5


def test_thread_does_not_keep_the_process_alive() -> None:
    assert TorchThread()._thread.daemon
