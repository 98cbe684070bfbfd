"""Find a running Engram, or start one for the length of an evaluation."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
from rich.console import Console

from cli.background import fresh_engram
from cli.parts import base_url
from engram.settings import Settings

_TIMEOUT_S = 180.0


@dataclass(frozen=True, slots=True)
class Running:
    """A running Engram. `settings` reach its database and files; None for one that runs elsewhere."""

    http: httpx.Client
    settings: Settings | None


@contextmanager
def engram_at(url: str | None, *, console: Console) -> Iterator[Running]:
    """The Engram at `url`, or a fresh one that ends with the block. Raises CliError where it does not start."""
    if url:
        yield Running(_client(url), None)
        return
    with fresh_engram(console=console) as settings:
        yield Running(_client(base_url(settings)), settings)


def _client(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False)
