"""`engram eval`: measure a running Engram, or one started for it, and print the figures."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from cli.client import CliError
from evals import swaps, told_once
from evals.capacity.command import capacity_command
from evals.client import EngramClient
from evals.forget.command import forget_command
from evals.gate.command import gate_command
from evals.leak.command import leak_command
from evals.product import engram_at
from evals.stream.command import stream_command
from evals.stream.session import JsonOption, console, write_json
from evals.update.command import update_command

app = typer.Typer(help="Measure Engram through its API.", no_args_is_help=True, add_completion=False)

UrlOption = Annotated[str | None, typer.Option(help="A running Engram. Without it one is started for the run.")]


@app.callback()
def root() -> None:
    """Measure Engram through its API."""


@app.command("told-once")
def told_once_command(
    url: UrlOption = None,
    json_path: JsonOption = None,
    path: Annotated[Path, typer.Option(help="Facts and probes, one JSON object a line.")] = told_once.FACTS,
    n: Annotated[int, typer.Option(help="How many facts of the file, from its beginning.")] = 40,
    batch: Annotated[int, typer.Option(help="Facts told before waiting for them to be learned.")] = 1,
) -> None:
    """Tell facts in chat, let them be learned, ask in new conversations."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    started = time.monotonic()
    with engram_at(url, console=console) as engram:
        figures = told_once.run(
            EngramClient(engram.http, f"told-once-{stamp}"),
            EngramClient(engram.http, f"chatter-{stamp}"),
            told_once.Options(path, num_facts=n, batch=batch),
            lambda line: console.print(line, highlight=False),
        )
    figures = {"eval": "told-once", "n": n, "batch": batch, "seconds": time.monotonic() - started, **figures}
    if json_path:
        write_json(json_path, figures)
    console.print(_table(figures))


@app.command("swaps")
def swaps_command(
    json_path: JsonOption = None,
    cycles: Annotated[int, typer.Option(help="Publishes, each followed by a rollback.")] = 50,
    clients: Annotated[int, typer.Option(help="Clients that ask without pause.")] = 3,
) -> None:
    """Publish and roll back under chat load; count failed requests and answers from a wrong version."""
    with engram_at(None, console=console) as engram:
        assert engram.settings is not None
        figures = swaps.run(
            EngramClient(engram.http, "swaps"),
            engram.settings,
            cycles=cycles,
            clients=clients,
            say=lambda line: console.print(line, highlight=False),
        )
    if json_path:
        write_json(json_path, figures)
    console.print(
        f"{figures['publishes']} publishes, {figures['rollbacks']} rollbacks, {figures['requests']} requests: "
        f"{figures['wrong_version']} from a wrong version, {figures['failed']} failed",
        highlight=False,
    )


app.command("gate")(gate_command)
app.command("stream")(stream_command)
app.command("update")(update_command)
app.command("forget")(forget_command)
app.command("leak")(leak_command)
app.command("capacity")(capacity_command)


_ROWS = (
    ("facts extracted right and whole", "extracted_whole", ">= 90 %", True),
    ("recall of paraphrased probes, right after learning", "recall_immediate", ">= 85 %", True),
    ("recall of all probes after the last fact", "recall_final", "", True),
    ("control questions still right at the end", "controls_kept", ">= 95 %", True),
    ("chatter messages that put a fact in the ledger", "chatter_stored", "<= 3 %", True),
    ("never told, answered with something told", "false_recall", "", True),
    ("statement to live in weights, median", "seconds_to_live_median", "<= 90 s", False),
)


def _table(figures: dict[str, Any]) -> Table:
    table = Table(title=f"told-once: {figures['facts']} facts, {figures['batch']} at a time")
    for column in ("figure", "wanted", "measured"):
        table.add_column(column)
    for label, key, wanted, is_share in _ROWS:
        value = figures[key]
        shown = "not measured" if value is None else f"{value:.1%}" if is_share else f"{value:.1f} s"
        table.add_row(label, wanted, shown)
    return table


def main() -> None:
    try:
        app()
    except (RuntimeError, TimeoutError, CliError) as error:
        console.print(f"[red]{error}[/red]")
        sys.exit(1)


if __name__ == "__main__":
    main()
