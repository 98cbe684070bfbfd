"""`engram bench`: measure Engram's speed and print ratios with their spread."""

import importlib.metadata
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engram.logs import configure
from engram.settings import Settings
from evals.bench import served
from evals.bench.figures import (
    CHAT_P95,
    GROWTH,
    MATMUL_SHARE,
    ROWS,
    SPEEDUP,
    STATEMENT_TO_LIVE,
    Failure,
    Figure,
    Json,
    table,
    to_json,
)
from evals.client import EngramClient
from evals.product import engram_at
from evals.stream.records import write_whole

KEYS = tuple(row.key for row in ROWS)
SERVED = (STATEMENT_TO_LIVE.key, CHAT_P95.key)
TRAINER = (SPEEDUP.key, MATMUL_SHARE.key)
IN_PROCESS = (*TRAINER, GROWTH.key)


class Results(dict[str, Figure | Failure]):
    """What the rows measured, by key. Each is written to the JSON file as soon as it is there: the next may take long.

    Raises OSError where that cannot be written.
    """

    def __init__(self, path: Path | None = None) -> None:
        super().__init__()
        self.path = path
        if path:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._write()

    def add(self, key: str, outcome: Figure | Failure) -> None:
        self[key] = outcome
        self._write()

    def _write(self) -> None:
        if self.path:
            write_whole(self.path, to_json(self, machine=_machine()), indent=2)


app = typer.Typer(add_completion=False)
console = Console()


@app.command()
def bench(
    only: Annotated[
        list[str] | None, typer.Option(help=f"A row to run; can be given again. {', '.join(KEYS)}.")
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Samples of each ratio.")] = 3,
    steps: Annotated[int, typer.Option(min=1, help="Training steps timed for a sample, after one to warm up.")] = 4,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write medians and details to this file.")] = None,
    url: Annotated[str | None, typer.Option(help="A running Engram for the served rows, on an idle machine.")] = None,
) -> None:
    """Measure speed: the trainer against plain PEFT, growth with the ledger, learning and chat as served.

    Wants the machine for itself. Without --only all rows are run.
    """
    wanted = only or KEYS
    if unknown := [key for key in wanted if key not in KEYS]:
        raise typer.BadParameter(f"{', '.join(unknown)}: no such row; there are {', '.join(KEYS)}", param_hint="--only")
    configure("WARNING")
    results = Results(json_path)
    if any(key in SERVED for key in wanted):  # first, while this process has no model in memory
        _measure_served(wanted, results, url=url, repeats=repeats)
    if any(key in IN_PROCESS for key in wanted):
        _measure_in_process(wanted, results, repeats=repeats, steps=steps)
    console.print(table(results))
    raise typer.Exit(1 if any(isinstance(result, Failure) for result in results.values()) else 0)


def _measure_served(wanted: Sequence[str], results: Results, *, url: str | None, repeats: int) -> None:
    stamp = time.strftime("%Y%m%d-%H%M%S")
    _say(f"using the Engram at {url}" if url else "starting Engram (a minute or two)")
    with _reported([key for key in SERVED if key in wanted], results), engram_at(url, console=console) as engram:
        served.wait_until_idle(say=_say)
        told = EngramClient(engram.http, f"bench-{stamp}")
        chatting = EngramClient(engram.http, f"bench-chat-{stamp}")
        measures: dict[str, Callable[[], Figure]] = {
            STATEMENT_TO_LIVE.key: lambda: served.statement_to_live(told, say=_say),
            CHAT_P95.key: lambda: served.chat_p95_ratio(chatting, repeats=repeats, say=_say),
        }
        _measure(measures, wanted, results)


def _measure_in_process(wanted: Sequence[str], results: Results, *, repeats: int, steps: int) -> None:
    from evals.bench import growth  # torch takes seconds to import
    from evals.stream.model import open_setup

    if trainer := [key for key in TRAINER if key in wanted]:
        with _reported(trainer, results):
            _measure_trainer(trainer, results, repeats=repeats, steps=steps)
    settings = Settings()
    _measure({GROWTH.key: lambda: growth.run(open_setup(settings, ()), repeats=repeats, say=_say)}, wanted, results)


def _measure_trainer(wanted: Sequence[str], results: Results, *, repeats: int, steps: int) -> None:
    from evals.bench import matmul_share, speedup
    from evals.bench.workbench import open_workbench

    bench = open_workbench(Settings(), repeats=repeats, timed_steps=steps, say=_say)
    _measure(
        {SPEEDUP.key: lambda: speedup.run(bench), MATMUL_SHARE.key: lambda: matmul_share.run(bench)}, wanted, results
    )


def _measure(measures: dict[str, Callable[[], Figure]], wanted: Sequence[str], results: Results) -> None:
    for key in (key for key in measures if key in wanted):
        _say(f"[bold]{key}[/bold]")
        with _reported([key], results):
            results.add(key, measures[key]())


@contextmanager
def _reported(keys: Sequence[str], results: Results) -> Iterator[None]:
    """What fails inside is the result of those rows that have none yet; the other rows are measured all the same."""
    try:
        yield
    except Exception as error:  # noqa: BLE001
        # The edge of a row: whatever failed, an hour of other rows is not lost with it.
        console.print(f"[red]{type(error).__name__}[/red]", end=" ")
        console.print(str(error), markup=False, highlight=False)
        for key in keys:
            if key not in results:
                results.add(key, Failure(f"{type(error).__name__}: {error}"))


def _machine() -> Json:
    return {
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cores": len(os.sched_getaffinity(0)),
        **{name: importlib.metadata.version(name) for name in ("torch", "transformers", "peft", "accelerate")},
    }


def _say(line: str) -> None:
    console.print(line, highlight=False)


if __name__ == "__main__":
    app()
