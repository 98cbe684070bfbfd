"""The options that every command shares, each defined once."""

from typing import Annotated

import typer

from cli.client import Api, open_api
from engram.settings import Settings


def _default_url() -> str:
    return f"http://127.0.0.1:{Settings().port}"


Url = Annotated[
    str, typer.Option(default_factory=_default_url, envvar="ENGRAM_URL", help="Address of Engram.", show_default=False)
]
Key = Annotated[str | None, typer.Option(envvar="ENGRAM_API_KEY", help="API key, where auth is on.")]
Space = Annotated[str, typer.Option(help="Memory space.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Limit = Annotated[int, typer.Option(min=1, help="Most rows.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the audit log.")]

DEFAULT_SPACE = "default"

__all__ = ["DEFAULT_SPACE", "Api", "AsJson", "Key", "Limit", "Reason", "Space", "Url", "open_api"]
