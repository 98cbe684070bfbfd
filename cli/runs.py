"""`engram runs`: see what Engram learned and why it was let in, watch it learn, ask it to."""

from typing import Annotated, Any

import typer

from cli.client import Api, CliError, segment
from cli.options import DEFAULT_SPACE, AsJson, Key, Limit, Space, Url, open_api
from cli.output import Column, console, print_json, print_list, when
from cli.version import checks
from cli.watch import draw, watch

app = typer.Typer(help="List, show, watch and start learning runs.", invoke_without_command=True)

COLUMNS: list[Column] = [
    ("id", lambda run: run["id"]),
    ("kind", lambda run: run["kind"]),
    ("status", lambda run: run["status"]),
    ("stage", lambda run: run.get("stage")),
    ("version", lambda run: run.get("published_version")),
    ("seconds", lambda run: _total(run.get("seconds"))),
    ("started", lambda run: when(run.get("started_at") or run.get("created_at"))),
    ("error", lambda run: run.get("error")),
]


@app.callback()
def list_runs(
    context: typer.Context,
    *,
    url: Url,
    key: Key = None,
    space: Space = DEFAULT_SPACE,
    status: Annotated[str | None, typer.Option(help="Only runs of this status.")] = None,
    limit: Limit = 20,
    as_json: AsJson = False,
) -> None:
    """List learning runs, newest first."""
    if context.invoked_subcommand is None:
        runs = open_api(url, key=key, space=space).items("/v1/learning-runs", limit=limit, space=space, status=status)
        print_list(runs, COLUMNS, as_json=as_json, empty=f"Space {space} has no learning runs.")


@app.command("show")
def show(run_id: str, url: Url, key: Key = None, as_json: AsJson = False) -> None:
    """A run's candidates, probe scores, decision and seconds."""
    run = open_api(url, key=key, space=DEFAULT_SPACE).get(f"/v1/learning-runs/{segment(run_id)}")
    if as_json:
        print_json(run)
        return
    console.print(draw(run))
    for line in checks(run.get("decision")):
        console.print(line, markup=False, highlight=False)


@app.command("watch")
def watch_run(
    url: Url,
    run_id: Annotated[str | None, typer.Argument(help="Without it: the newest run of the space.")] = None,
    key: Key = None,
    space: Space = DEFAULT_SPACE,
) -> None:
    """Follow a run until it ends. Exit code 1 if it published nothing."""
    api = open_api(url, key=key, space=space)
    run = watch(api, run_id or newest_run(api), console=console)
    raise typer.Exit(0 if run["status"] == "published" else 1)


@app.command("start")
def start(url: Url, key: Key = None, space: Space = DEFAULT_SPACE, as_json: AsJson = False) -> None:
    """Learn the pending facts now."""
    _print_started(open_api(url, key=key, space=space).post("/v1/learning-runs", {"space": space}), as_json=as_json)


@app.command("consolidate")
def consolidate(url: Url, key: Key = None, space: Space = DEFAULT_SPACE, as_json: AsJson = False) -> None:
    """Train all live facts once more from the base; goes live only if nothing is lost."""
    wanted = {"space": space, "kind": "consolidate"}
    _print_started(open_api(url, key=key, space=space).post("/v1/learning-runs", wanted), as_json=as_json)


def newest_run(api: Api) -> str:
    """Raises CliError where there is none."""
    runs = api.items("/v1/learning-runs", limit=1, space=api.space)
    if not runs:
        raise CliError(f"space {api.space} has no learning runs")
    return str(runs[0]["id"])


def _print_started(run: dict[str, Any], *, as_json: bool) -> None:
    print_json(run) if as_json else console.print(f"{run['id']} {run['status']}", highlight=False)


def _total(seconds: dict[str, float] | None) -> float | None:
    return sum(seconds.values()) if seconds else None
