"""Switch a model's attention for a while. Which there are is said where each is registered with transformers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def attending_as(name: str, *, config: Any) -> Iterator[None]:
    """Inside the block the layers of the model with this config attend as is registered under this name."""
    usual = config._attn_implementation
    config._attn_implementation = name
    try:
        yield
    finally:
        config._attn_implementation = usual
