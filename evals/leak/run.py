"""Tell two spaces of one Engram facts of their own, and ask all of its spaces for those of the first.

The spaces share ledger, worker, trainer, caches and the folder of files, as in the product. Answers come from each
space's live version, read from its file; what vLLM keeps between requests of different spaces is not measured here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.progress import Progress

from evals.stream.datasets import Item
from evals.stream.measure import run_shown
from evals.stream.methods.product import Product
from evals.stream.methods.untrained import Base
from evals.stream.model import Setup
from evals.stream.plan import own_and_all
from evals.stream.records import Told, read_whole, write_whole
from evals.stream.reference import Reference
from evals.stream.run import ask_about

TOLD, NEIGHBOUR, STRANGER = "told", "neighbour", "stranger"
ASKED = (NEIGHBOUR, STRANGER)

Answers = dict[int, list[str]]  # to the graded probes of each of the first space's items, by its place


@dataclass(frozen=True, slots=True)
class Found:
    """`told`, `neighbour`: what became of each space's own facts. `asked`: by space, what it answers to questions about
    the first space's facts; `base`: the untouched base, asked the same in the same batch."""

    told: list[Told]
    neighbour: list[Told]
    asked: dict[str, Answers]
    base: Answers


def run(
    setup: Setup, items: Sequence[Item], own: Sequence[Item], *, reference: Reference, folder: Path, progress: Progress
) -> Found:
    """Tell the first space `items` and its neighbour `own`, then ask. Goes on from what is in `folder`."""
    told = {
        space: run_shown(
            space,
            lambda space=space: _open(setup, folder, space),  # type: ignore[misc]
            own_and_all(facts, (len(facts),)),
            reference=reference,
            folder=folder / space,
            progress=progress,
        )[0]
        for space, facts in ((TOLD, items), (NEIGHBOUR, own))
    }
    asked = {}
    for space in ASKED:
        task = progress.add_task(f"ask {space}", total=1, right="")
        asked[space] = _ask(setup, folder, space, items)
        progress.update(task, advance=1)
    return Found(told[TOLD], told[NEIGHBOUR], asked, ask_about(Base(setup), items, range(len(items))))


def _open(setup: Setup, folder: Path, space: str) -> Product:
    return Product(setup, folder / "home", space=space)


def _ask(setup: Setup, folder: Path, space: str, items: Sequence[Item]) -> Answers:
    path = folder / f"{space}.json"
    if not path.exists():
        product = _open(setup, folder, space)
        try:
            write_whole(path, ask_about(product, items, range(len(items))))
        finally:
            product.close()
    return {int(place): answers for place, answers in read_whole(path).items()}
