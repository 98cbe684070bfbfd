"""`engram eval stream`: read the set, run the methods, write what they got."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from engram.errors import EngramError
from engram.grading import is_right
from engram.logs import configure
from engram.settings import Settings
from evals import told_once
from evals.stream import plots, report
from evals.stream.datasets import Dataset, Item, draw, read
from evals.stream.metrics import checkpoints as spread
from evals.stream.model import Setup, open_setup
from evals.stream.records import Records, Told, claim
from evals.stream.reference import Reference, load_questions
from evals.stream.run import METHODS, run_method

Json = dict[str, Any]

console = Console()


def stream_command(
    *,
    dataset: Annotated[Dataset, typer.Option(help="The format of the set.")] = Dataset.TOLD_ONCE,
    path: Annotated[Path | None, typer.Option(help="The set's file. Without it, Engram's own told-once.")] = None,
    n: Annotated[int, typer.Option(min=1, help="How many facts to tell, drawn and ordered by the seed.")] = 40,
    methods: Annotated[str, typer.Option(help="Which methods, with commas between.")] = ",".join(METHODS),
    seed: Annotated[int, typer.Option(help="Draws the stream, seeds all training and the intervals.")] = 0,
    checkpoints: Annotated[int, typer.Option(min=1, help="How often all earlier facts are asked.")] = 10,
    json_path: Annotated[Path | None, typer.Option("--json", help="Write figures and every answer here.")] = None,
    markdown_path: Annotated[Path | None, typer.Option("--markdown", help="Write the table here.")] = None,
    plots_folder: Annotated[Path | None, typer.Option("--plots", help="Draw into this folder.")] = None,
    resume: Annotated[Path | None, typer.Option(help="Keep state in this folder, and go on from what it has.")] = None,
) -> None:
    """Tell facts one after another to each method; ask after each, and all after the last. Needs no running Engram."""
    configure("WARNING")
    chosen, path = _methods(methods), _path(dataset, path)
    items = draw(read(dataset, path), n=n, seed=seed)
    started = time.monotonic()
    with _folder(resume) as folder:
        settings = Settings(seed=seed)
        what: Json = {"dataset": dataset.value, "path": str(path.resolve()), "n": n, "seed": seed}
        claim(folder, {**what, "checkpoints": checkpoints, "model": settings.model})
        console.print("loading the base; it answers what must not change")
        try:
            setup = open_setup(settings, items)
        except EngramError as error:
            raise RuntimeError(error.message) from error
        results = measure(setup, items, chosen, folder, asked_after=spread(n, checkpoints))
    base = Path(setup.learner.base.path).name
    _write(
        {"eval": "stream", **what, "base": base, "seconds": time.monotonic() - started, "methods": results},
        json_path=json_path,
        markdown_path=markdown_path,
        plots_folder=plots_folder,
    )


def measure(
    setup: Setup, items: Sequence[Item], methods: Sequence[str], folder: Path, *, asked_after: Sequence[int]
) -> Json:
    """Run methods one after another, each in its part of `folder`; their figures by name."""
    reference = Reference(setup, load_questions(items))
    results: Json = {}
    with _progress() as progress:
        for name in methods:
            own = folder / name
            task = progress.add_task(name, total=len(items), right="")
            told, ended = run_method(
                lambda name=name, own=own: METHODS[name](setup, own),  # type: ignore[misc]
                items,
                reference,
                Records(own),
                asked_after=asked_after,
                on_fact=_Advance(progress, task, items),
            )
            seed = setup.settings.seed
            results[name] = report.figures(items, told, ended, reference.questions, reference.base, seed=seed)
    return results


class _Advance:
    """Moves a method's bar by one fact, and shows how many probes were right just after their fact."""

    def __init__(self, progress: Progress, task: Any, items: Sequence[Item]) -> None:
        self.progress, self.task, self.items = progress, task, items
        self.right = self.asked = 0

    def __call__(self, told: Told) -> None:
        for probe, answer in zip(self.items[told.fact].graded, told.answers[told.fact], strict=True):
            self.asked += 1
            self.right += is_right(answer, probe.answers)
        self.progress.update(self.task, advance=1, right=f"{self.right}/{self.asked} right  {told.outcome[:60]}")


def _progress() -> Progress:
    columns = (TextColumn("{task.description:<10}"), BarColumn(20), MofNCompleteColumn())
    return Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[right]}"), console=console
    )


def _methods(names: str) -> list[str]:
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in chosen if name not in METHODS]
    if unknown or not chosen:
        raise typer.BadParameter(f"no method {', '.join(unknown)}; there are {', '.join(METHODS)}")
    return chosen


def _path(dataset: Dataset, path: Path | None) -> Path:
    if path is None and dataset != Dataset.TOLD_ONCE:
        raise typer.BadParameter(f"{dataset} is not shipped: give its file with --path")
    return path or told_once.FACTS


@contextmanager
def _folder(resume: Path | None) -> Iterator[Path]:
    if resume:
        yield resume
        return
    with tempfile.TemporaryDirectory(prefix="engram-stream-") as folder:
        yield Path(folder)


def _write(found: Json, *, json_path: Path | None, markdown_path: Path | None, plots_folder: Path | None) -> None:
    if json_path:
        json_path.write_text(json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    if markdown_path:
        markdown_path.write_text(report.markdown(found))
    if plots_folder and plots.is_available():
        for path in plots.draw(found, plots_folder):
            console.print(f"drawn: {path}", highlight=False)
    elif plots_folder:
        console.print(plots.MISSING)
    console.print(_table(found))


def _table(found: Json) -> Table:
    header, *rows = report.table(found)
    table = Table(*header, title=f"stream of {found['n']} facts: {found['dataset']}, seed {found['seed']}")
    for row in rows:
        table.add_row(*row)
    return table
