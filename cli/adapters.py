"""`engram adapters`, `rollback` and `promote`: see every version of a space's weights, and move between them."""

from pathlib import Path
from typing import Annotated

import typer

from cli.client import Json, segment
from cli.options import DEFAULT_SPACE, AsJson, Key, Limit, Reason, Space, Url, open_api
from cli.output import Column, console, print_json, print_list, when
from cli.version import describe

app = typer.Typer(help="List, show and export adapter versions.", invoke_without_command=True)

COLUMNS: list[Column] = [
    ("version", lambda version: version["version"]),
    ("status", lambda version: version["status"]),
    ("parent", lambda version: version.get("parent_version", version.get("parent"))),
    ("made", lambda version: when(version.get("created_at"))),
    ("digest", lambda version: str(version.get("digest") or "")[:12] or None),
    ("reason", lambda version: version.get("reason")),
]


@app.callback()
def list_adapters(
    context: typer.Context,
    *,
    url: Url,
    key: Key = None,
    space: Space = DEFAULT_SPACE,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List a space's adapter versions, newest first. Version 0 is the untouched base."""
    if context.invoked_subcommand is None:
        versions = open_api(url, key=key, space=space).items("/v1/adapters", limit=limit, space=space)
        print_list(versions, COLUMNS, as_json=as_json, empty=f"Space {space} has learned nothing yet.")


@app.command("show")
def show(version: int, url: Url, key: Key = None, space: Space = DEFAULT_SPACE, as_json: AsJson = False) -> None:
    """A version's lineage and facts, the gate's checks, and when it was live; as JSON notes and answers too."""
    found = open_api(url, key=key, space=space).get(_path(space, version))
    print_json(found) if as_json else console.print(describe(found), highlight=False)


@app.command("export")
def export(
    version: int,
    file: Annotated[Path, typer.Argument(help="Where to write the tar of the PEFT folder.")],
    url: Url,
    key: Key = None,
    space: Space = DEFAULT_SPACE,
) -> None:
    """Save a version as a PEFT folder, in a tar."""
    num_bytes = open_api(url, key=key, space=space).download(f"{_path(space, version)}/export", file)
    console.print(f"{file} ({num_bytes / 1e6:.1f} MB)", highlight=False, markup=False)


def rollback(
    *,
    url: Url,
    reason: Reason,
    key: Key = None,
    space: Space = DEFAULT_SPACE,
    to: Annotated[int | None, typer.Option(help="Version to go back to. Without it: the previous one.")] = None,
    as_json: AsJson = False,
) -> None:
    """Go back to an earlier version, in one step."""
    body = {"reason": reason} if to is None else {"reason": reason, "to": to}
    answer = open_api(url, key=key, space=space).post(f"/v1/adapters/{segment(space)}/rollback", body)
    print_json(answer) if as_json else _say_live(answer)


def promote(
    version: int, *, url: Url, reason: Reason, key: Key = None, space: Space = DEFAULT_SPACE, as_json: AsJson = False
) -> None:
    """Make a version the live one."""
    answer = open_api(url, key=key, space=space).post(f"{_path(space, version)}/promote", {"reason": reason})
    print_json(answer) if as_json else _say_live(answer)


def live_version(versions: list[Json]) -> int:
    """The live one out of a list of versions; 0, the base, if none is."""
    return next((int(version["version"]) for version in versions if version["status"] == "live"), 0)


def _say_live(space: Json) -> None:
    version = space["live_version"]
    console.print(f"space {space['space']} is now answered by {f'version {version}' if version else 'the base'}")


def _path(space: str, version: int) -> str:
    return f"/v1/adapters/{segment(space)}/{version}"
