"""`engram facts`: read and correct the fact ledger."""

from typing import Annotated

import typer

from cli.client import segment
from cli.options import DEFAULT_SPACE, AsJson, Key, Limit, Space, Url, open_api
from cli.output import Column, console, print_json, print_list

app = typer.Typer(help="List, add, edit and delete facts.", invoke_without_command=True)

COLUMNS: list[Column] = [
    ("id", lambda fact: fact["id"]),
    ("status", lambda fact: fact["status"]),
    ("since version", lambda fact: fact.get("live_since_version")),
    ("statement", lambda fact: fact["statement"]),
    ("reason", lambda fact: fact.get("reason")),
]


@app.callback()
def list_facts(
    context: typer.Context,
    *,
    url: Url,
    key: Key = None,
    space: Space = DEFAULT_SPACE,
    status: Annotated[str | None, typer.Option(help="Only facts of this status.")] = None,
    q: Annotated[str | None, typer.Option(help="Only facts with these words.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List facts, newest first."""
    if context.invoked_subcommand is None:
        facts = open_api(url, key=key, space=space).items("/v1/facts", limit=limit, space=space, status=status, q=q)
        print_list(facts, COLUMNS, as_json=as_json, empty=f"No facts in space {space}.")


@app.command("add")
def add(statement: str, *, url: Url, key: Key = None, space: Space = DEFAULT_SPACE, as_json: AsJson = False) -> None:
    """Add a fact; the worker learns it."""
    fact = open_api(url, key=key, space=space).post("/v1/facts", {"space": space, "statement": statement})
    print_json(fact) if as_json else console.print(f"{fact['id']} {fact['status']}", highlight=False)


@app.command("edit")
def edit(fact_id: str, statement: str, *, url: Url, key: Key = None, as_json: AsJson = False) -> None:
    """Give a fact another statement, which is learned in place of the old one."""
    fact = open_api(url, key=key, space=DEFAULT_SPACE).patch(_path(fact_id), {"statement": statement})
    print_json(fact) if as_json else console.print(f"{fact['id']} {fact['status']}", highlight=False)


@app.command("delete")
def delete(fact_id: str, url: Url, key: Key = None) -> None:
    """Forget a fact."""
    open_api(url, key=key, space=DEFAULT_SPACE).delete(_path(fact_id))
    console.print(f"{fact_id} will be forgotten", highlight=False)


def _path(fact_id: str) -> str:
    return f"/v1/facts/{segment(fact_id)}"
