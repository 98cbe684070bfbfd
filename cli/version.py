"""Tell an adapter version to a person: where it comes from, what it holds, why it was let in, and when it was live."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from cli.output import Column, cell, table, when

Version = Mapping[str, Any]


def describe(version: Version) -> RenderableType:
    """A version as `GET /v1/adapters/{space}/{version}` has it, without its notes and every probe's answer."""
    taught = {note["fact_id"] for note in version["notes"]}
    columns: list[Column] = [
        ("", lambda fact: "taught" if fact["id"] in taught else ""),
        ("fact", lambda fact: fact["statement"] or "(forgotten)"),
        ("status", lambda fact: fact["status"]),
        ("in the weights of", lambda fact: f"version {fact['shard']}"),
    ]
    facts = sorted(version["facts"], key=lambda fact: fact["id"] not in taught)
    return Group(
        Text.assemble(
            f"version {version['version']} of {version['space']}  ", cell(version["status"]), _aliases(version)
        ),
        *(Text(line, style="dim") for line in _origin(version)),
        table(facts, columns) if facts else Text("It holds no fact."),
        *(Text(line) for line in checks(version.get("decision"))),
    )


def checks(decision: Mapping[str, Any] | None) -> Iterator[str]:
    """The gate's checks, a line each."""
    for reason in (decision or {}).get("reasons") or []:
        yield f"  {'✓' if reason['passed'] else '✗'} {reason['text']}"


def _aliases(version: Version) -> str:
    others = [alias for alias in version["aliases"] if alias != version["status"]]
    return f"  {', '.join(others)}" if others else ""


def _origin(version: Version) -> Iterator[str]:
    parent = f"version {version['parent_version']}" if version["parent_version"] else "the base"
    yield f"from {parent}, {version['strategy']} of {len(version['notes'])} notes, {version['run_id']}"
    yield f"made {when(version['created_at'])}, digest {version['digest'][:12]}, in vLLM {version['lora_name']}"
    if version["reason"]:
        yield f"{version['status']}: {version['reason']}"
    for period in version["live_periods"]:
        until = when(period["until_at"]) or "now"
        yield f"live {when(period['from_at'])} to {until}, by {period['actor']}: {period['reason']}"
