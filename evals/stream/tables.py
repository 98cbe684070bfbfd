"""Lay figures out as a table, for the terminal and as Markdown. Pure: no I/O."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from rich.table import Table

Json = dict[str, Any]

NOTHING = "–"


class Unit(StrEnum):
    SHARE = "share"  # 0 to 1
    POINTS = "points"  # of a hundred, of either sign
    NATS = "nats"  # a token
    SECONDS = "seconds"
    COUNT = "count"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Column:
    """`key`: of the figure, and of its interval in `intervals`, if it has one."""

    key: str
    title: str
    unit: Unit = Unit.SHARE


HELD = (
    Column("control", "controls kept"),
    Column("kl", "KL, nats a token", Unit.NATS),
    Column("false_recall", "false recall"),
)


def lay_out(first: str, columns: Sequence[Column], named: Iterable[tuple[str, Json]]) -> list[list[str]]:
    """A header, then a row for each name; only the columns that some row has."""
    rows = list(named)
    shown = [column for column in columns if any(column.key in figures for _, figures in rows)]
    header = [first, *(column.title for column in shown)]
    return [header, *([name, *(cell(figures, column) for column in shown)] for name, figures in rows)]


def cell(figures: Json, column: Column) -> str:
    """One figure as text, with its interval where it has one."""
    value = figures.get(column.key)
    if value is None:
        return NOTHING
    show = _SHOW[column.unit]
    interval = figures.get("intervals", {}).get(column.key)
    return f"{show(value)} ({show(interval[0])}–{show(interval[1])})" if interval else show(value)


_SHOW = {
    Unit.SHARE: "{:.2f}".format,
    Unit.POINTS: "{:+.1f}".format,
    Unit.NATS: "{:.3f}".format,
    Unit.SECONDS: "{:.1f}".format,
    Unit.COUNT: "{:d}".format,
    Unit.TEXT: "{}".format,
}


def markdown(rows: Sequence[Sequence[str]], *, head: str) -> str:
    """The table under a line that says what was run and how it is to be read."""
    header, *others = rows
    lines = [head, "", *(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *others))]
    return "\n".join(lines) + "\n"


def terminal(rows: Sequence[Sequence[str]], *, title: str) -> Table:
    header, *others = rows
    table = Table(*header, title=title)
    for cells in others:
        table.add_row(*cells)
    return table
