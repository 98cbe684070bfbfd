"""What the commands that tell facts share: their options, the folder they go on from, and how they write."""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from engram.errors import EngramError
from engram.logs import configure
from engram.settings import Settings
from evals.stream import tables
from evals.stream.datasets import Dataset, Item
from evals.stream.model import Setup, open_setup
from evals.stream.records import claim
from evals.stream.run import METHODS
from evals.stream.tables import Json

console = Console()

DatasetOption = Annotated[Dataset, typer.Option(help="The format of the set.")]
PathOption = Annotated[Path | None, typer.Option(help="The set's file. Without it, Engram's own.")]
NumFactsOption = Annotated[int, typer.Option(min=1, help="How many facts to tell, drawn and ordered by the seed.")]
MethodsOption = Annotated[str, typer.Option(help="Which methods, with commas between.")]
SeedOption = Annotated[int, typer.Option(help="Draws the facts and their order, seeds all training and the intervals.")]
CheckpointsOption = Annotated[int, typer.Option(min=1, help="How often all earlier facts are asked.")]
JsonOption = Annotated[Path | None, typer.Option("--json", dir_okay=False, help="Write figures and every answer here.")]
MarkdownOption = Annotated[Path | None, typer.Option("--markdown", dir_okay=False, help="Write the table here.")]
PlotsOption = Annotated[Path | None, typer.Option("--plots", file_okay=False, help="Draw into this folder.")]
ResumeOption = Annotated[
    Path | None, typer.Option(file_okay=False, help="Keep state in this folder, and go on from what it has.")
]


ALL_METHODS = ",".join(METHODS)


@dataclass(frozen=True)
class Session:
    """`what`: what is measured; a folder that was resumed measures the same. `folder` holds all state."""

    what: Json
    setup: Setup
    folder: Path
    started: float

    @property
    def seed(self) -> int:
        return self.setup.settings.seed

    def found(self, **results: object) -> Json:
        """A report: what was measured, on which base, in how many seconds, and what came out."""
        base = Path(self.setup.learner.base.path).name
        return {**self.what, "base": base, "seconds": time.monotonic() - self.started, **results}


def say(line: str) -> None:
    """Print a line as it is."""
    console.print(line, highlight=False, markup=False)


@contextmanager
def opened(what: Json, items: Sequence[Item], *, resume: Path | None) -> Iterator[Session]:
    """Open base and author for `items`, in a folder that is `resume` or goes away at the end.

    Raises OtherRun for a folder of another evaluation, RuntimeError where there is no such model.
    """
    configure("WARNING")
    started = time.monotonic()
    settings = Settings(seed=what["seed"])
    with state_folder(resume) as folder:
        claim(folder, {**what, "model": settings.model})
        console.print("loading the base; it answers what must not change")
        try:
            setup = open_setup(settings, items)
        except EngramError as error:
            raise RuntimeError(error.message) from error
        yield Session(what, setup, folder, started)


def describe(evaluation: str, dataset: Dataset, path: Path, *, n: int, seed: int, **more: int) -> Json:
    """What is measured, as it stands in the report."""
    return {"eval": evaluation, "dataset": dataset.value, "path": str(path.resolve()), "n": n, "seed": seed, **more}


def chosen_methods(names: str) -> list[str]:
    """Raises BadParameter for a method that there is not, or none."""
    chosen = list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
    unknown = [name for name in chosen if name not in METHODS]
    if unknown or not chosen:
        raise typer.BadParameter(
            f"no method {', '.join(unknown)}; there are {', '.join(METHODS)}", param_hint="--methods"
        )
    return chosen


def set_path(dataset: Dataset, path: Path | None, *, shipped: Path) -> Path:
    """The set's file; `shipped` is Engram's own. Raises BadParameter where another is wanted and not given."""
    if path is None and dataset != Dataset.TOLD_ONCE:
        raise typer.BadParameter(f"{dataset} is not shipped: give its file with --path", param_hint="--path")
    return path or shipped


def write(
    found: Json,
    rows: Sequence[Sequence[str]],
    *,
    title: str,
    note: str,
    json_path: Path | None,
    markdown_path: Path | None,
) -> None:
    """Write the report and its table where that is wanted, and print the table. `note`: how to read it."""
    command = f"engram eval {found['eval']} --dataset {found['dataset']} --n {found['n']} --seed {found['seed']}"
    write_files(
        found, rows, head=f"`{command}`, {found['base']}: {note}", json_path=json_path, markdown_path=markdown_path
    )
    console.print(tables.terminal(rows, title=f"{title}: {found['dataset']}, seed {found['seed']}"))


def write_files(
    found: Json, rows: Sequence[Sequence[str]], *, head: str, json_path: Path | None, markdown_path: Path | None
) -> None:
    """`head`: the line above the Markdown table. Folders are made where there are none."""
    if json_path:
        write_json(json_path, found)
    if markdown_path:
        _write(markdown_path, tables.markdown(rows, head=head))


def write_json(path: Path, found: Json) -> None:
    """Folders are made where there are none."""
    _write(path, json.dumps(found, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


@contextmanager
def state_folder(resume: Path | None) -> Iterator[Path]:
    """`resume`, or a folder that goes away at the end."""
    if resume:
        yield resume
        return
    with tempfile.TemporaryDirectory(prefix="engram-eval-") as folder:
        yield Path(folder)
