"""Make ids that sort by time of creation, so that an id is also a page cursor."""

import secrets
import threading
import time

_lock = threading.Lock()
_last_us = 0


def new_id(prefix: str) -> str:
    """`prefix_` + 14 hex digits of microseconds + 6 random ones; sorts by creation, strictly within a process."""
    return f"{prefix}_{_next_us():014x}{secrets.token_hex(3)}"


def _next_us() -> int:
    # Two ids of one microsecond, or of a clock set back, would sort by their random digits.
    global _last_us  # noqa: PLW0603
    with _lock:
        _last_us = max(_last_us + 1, time.time_ns() // 1000)
        return _last_us
