"""One thread for all that a process computes with torch.

Each thread that computes gets a pool of OpenMP threads of its own. As soon as the pools together have more threads than
the machine has cores, GNU's OpenMP lets them sleep between any two operations instead of waiting awake (libgomp's
throttled spin count), and an operation of a training step takes no longer than waking up.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any, TypeVar

Result = TypeVar("Result")


class SameThread:
    """In the place of a TorchThread where one thread computes anyway: another one would have a pool of its own."""

    def run(self, function: Callable[[], Result]) -> Result:
        return function()


class TorchThread:
    """Runs what it is given, one after another. It does not keep the process from ending."""

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Future[Any], Callable[[], Any]]] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="torch", daemon=True)
        self._thread.start()

    def run(self, function: Callable[[], Result]) -> Result:
        """Run it there and wait. Raises what it raises. Not from that thread itself."""
        future: Future[Result] = Future()
        self._calls.put((future, function))
        return future.result()

    def _serve(self) -> None:
        while True:
            future, function = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:  # noqa: BLE001 -- whoever waits gets it
                future.set_exception(error)
