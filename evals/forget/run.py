"""Tell Engram facts, delete some, let the worker rebuild, and ask. What was found is on disk, to go on from."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from evals.forget.ledger import Left, Version, choose, delete, learned, look
from evals.stream.datasets import Item
from evals.stream.measure import run_shown
from evals.stream.methods.product import Product
from evals.stream.methods.untrained import Base
from evals.stream.model import Setup
from evals.stream.plan import own_and_all
from evals.stream.records import Besides, Told, read_whole, write_whole
from evals.stream.reference import Reference
from evals.stream.run import ask_about, ask_besides

Answers = dict[int, list[str]]  # to the graded probes of each item, by its place


@dataclass(frozen=True, slots=True)
class After:
    """What was found once the worker had nothing left to do, `seconds` after the first deletion."""

    seconds: float
    left: Left
    answers: Answers
    besides: Besides


@dataclass(frozen=True, slots=True)
class Found:
    """`told` and `before` end with the last fact told; `base`: the untouched base, asked the same in the same batch."""

    told: list[Told]
    before: Besides
    base: Answers
    after: After


def run(
    setup: Setup, items: Sequence[Item], reference: Reference, folder: Path, *, count: int, progress: Progress
) -> Found:
    """Tell all items, forget `count` of those that were learned, or all if there are fewer. Goes on from `folder`."""

    def open_product() -> Product:
        return Product(setup, folder / "home")

    plan = own_and_all(items, (len(items),))
    told, before = run_shown("tell", open_product, plan, reference=reference, folder=folder / "told", progress=progress)
    path = folder / "after.json"
    task = progress.add_task("forget", total=1, right="deleting, rebuilding, asking")
    if not path.exists():
        write_whole(path, asdict(_forget(open_product, items, reference, folder / "chosen.json", count=count)))
    after = _after(read_whole(path))
    progress.update(task, advance=1, right=", ".join(after.left.rebuilds))
    return Found(told, before, ask_about(Base(setup), items, range(len(items))), after)


def _forget(
    open_product: Callable[[], Product], items: Sequence[Item], reference: Reference, path: Path, *, count: int
) -> After:
    """`path`: where the ids of the chosen facts are kept, by place. Once they are forgotten, nothing else says it."""
    product = open_product()
    try:
        if not path.exists():
            write_whole(path, choose(learned(product, items), count=count, seed=product.settings.seed))
        chosen = {int(place): fact_id for place, fact_id in read_whole(path).items()}
        started = time.monotonic()
        delete(product, chosen.values())
        product.worker.learn(product.space_id)
        seconds = time.monotonic() - started
        answers = ask_about(product, items, range(len(items)))
        return After(seconds, look(product, chosen), answers, ask_besides(product, items, reference))
    finally:
        product.close()


def _after(fields: Any) -> After:
    left = fields["left"]
    versions = [Version(**each) for each in left["versions"]]
    return After(
        fields["seconds"],
        Left(_by_place(left["facts"]), left["rebuilds"], versions),
        _by_place(fields["answers"]),
        Besides(**fields["besides"]),
    )


def _by_place(found: dict[str, Any]) -> dict[int, Any]:
    """JSON has no numbers for keys."""
    return {int(place): each for place, each in found.items()}
