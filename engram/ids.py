"""Make ids that sort by time of creation, so that an id is also a page cursor."""

import secrets
import time


def new_id(prefix: str) -> str:
    """`prefix_` + 14 hex digits of microseconds + 6 random ones; sorts by creation."""
    return f"{prefix}_{time.time_ns() // 1000:014x}{secrets.token_hex(3)}"
