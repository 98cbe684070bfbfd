"""Print what the API answered: a table for people, JSON for programs."""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

console = Console()
errors = Console(stderr=True)

STATUS_COLOURS = {
    "live": "green",
    "published": "green",
    "pending": "yellow",
    "queued": "yellow",
    "learning": "cyan",
    "running": "cyan",
    "canary": "cyan",
    "rejected": "red",
    "failed": "red",
}

Column = tuple[str, Callable[[Mapping[str, Any]], object]]


def print_json(value: object) -> None:
    """Plain JSON: never coloured, never wrapped."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_list(rows: Iterable[Mapping[str, Any]], columns: Iterable[Column], *, as_json: bool, empty: str) -> None:
    """A table with a row an item, or a sentence when there is none."""
    items = list(rows)
    if as_json:
        print_json(items)
    elif not items:
        console.print(empty)
    else:
        console.print(table(items, columns))


def table(rows: Iterable[Mapping[str, Any]], columns: Iterable[Column]) -> Table:
    chosen = list(columns)
    drawn = Table(box=None, header_style="bold", pad_edge=False)
    for title, _ in chosen:
        drawn.add_column(title, overflow="fold")
    for row in rows:
        drawn.add_row(*(cell(value(row)) for _, value in chosen))
    return drawn


def cell(value: object) -> Text:
    """A value as text; statuses in their colour."""
    if value is None:
        return Text("-", style="dim")
    if isinstance(value, float):
        return Text(f"{value:.2f}")
    return Text(str(value), style=STATUS_COLOURS.get(str(value), ""))


def when(moment: object) -> str | None:
    """`2026-01-31 12:00:00` out of an ISO time."""
    return str(moment)[:19].replace("T", " ") if moment else None
