"""Run methods through a plan, one after another, with a bar for each."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from engram.grading import is_right
from evals.stream.datasets import Item
from evals.stream.methods.protocol import Method
from evals.stream.model import Setup
from evals.stream.plan import Plan
from evals.stream.records import Besides, Records, Told
from evals.stream.reference import Reference, load_questions
from evals.stream.run import METHODS, run_method
from evals.stream.session import console
from evals.stream.tables import Json

Figures = Callable[[Sequence[Told], Besides, Reference], Json]

_WIDEST_OUTCOME = 60


def measure(setup: Setup, plan: Plan, methods: Sequence[str], folder: Path, figures: Figures) -> Json:
    """Run methods one after another, each in its part of `folder`; their figures by name."""
    reference = open_reference(setup, plan.items)
    results: Json = {}
    with bars() as progress:
        for name in methods:
            own = folder / name
            told, ended = run_shown(
                name,
                lambda name=name, own=own: METHODS[name](setup, own),  # type: ignore[misc]
                plan,
                reference=reference,
                folder=own,
                progress=progress,
            )
            results[name] = figures(told, ended, reference)
    return results


def open_reference(setup: Setup, items: Sequence[Item]) -> Reference:
    """The base's answers to what must not change while the items are told."""
    return Reference(setup, load_questions(items))


def run_shown(
    name: str,
    open_method: Callable[[], Method],
    plan: Plan,
    *,
    reference: Reference,
    folder: Path,
    progress: Progress,
) -> tuple[list[Told], Besides]:
    """Run one method with a bar of its own; its records are in `folder`."""
    task = progress.add_task(name, total=len(plan.items), right="")
    return run_method(open_method, plan, reference, Records(folder), on_fact=_Advance(progress, task, plan.items))


def bars() -> Progress:
    columns = (TextColumn("{task.description:<10}"), BarColumn(20), MofNCompleteColumn())
    return Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), TextColumn("{task.fields[right]}"), console=console
    )


class _Advance:
    """Moves a method's bar by one fact, and shows how many probes were right just after their fact."""

    def __init__(self, progress: Progress, task: TaskID, items: Sequence[Item]) -> None:
        self.progress, self.task, self.items = progress, task, items
        self.right = self.asked = 0

    def __call__(self, told: Told) -> None:
        for probe, answer in zip(self.items[told.fact].graded, told.answers[told.fact], strict=True):
            self.asked += 1
            self.right += is_right(answer, probe.answers)
        said = f"{self.right}/{self.asked} right  {told.outcome[:_WIDEST_OUTCOME]}"
        self.progress.update(self.task, advance=1, right=said)
