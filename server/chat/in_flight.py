"""Count the requests that each adapter is answering, so that none is unloaded under one. Of this process only."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class InFlight:
    """Lives on the event loop; no locks. `idle_s` starts at the first question about a name never used."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: Counter[str] = Counter()
        self._used_at: dict[str, float] = {}

    @contextmanager
    def counting(self, name: str) -> Iterator[None]:
        self._running[name] += 1
        try:
            yield
        finally:
            self._running[name] -= 1
            self._used_at[name] = self._clock()

    def running(self, name: str) -> int:
        return self._running[name]

    def idle_s(self, name: str) -> float:
        """Seconds since the last request of `name` ended; 0 while one runs."""
        if self._running[name]:
            return 0.0
        return self._clock() - self._used_at.setdefault(name, self._clock())

    def forget(self, name: str) -> None:
        """Drop what is known about a name that was unloaded."""
        self._running.pop(name, None)
        self._used_at.pop(name, None)
