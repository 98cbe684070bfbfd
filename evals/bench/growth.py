"""Time how one fact is learned, from the ledger to the live version, after few and after many facts.

The ledgers are seeded (`evals.bench.seeded`), all else is the product: the author writes, candidates are trained,
examined with earlier facts' probes, gated and published. Both sizes learn the same new facts, in turns. The first new
fact is learned as right after a worker's start, when nothing that was said before has been read, and is reported apart.
"""

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from evals.bench.figures import Figure
from evals.bench.ledger import studied_facts
from evals.bench.seeded import seed
from evals.bench.workbench import Say
from evals.stream.methods.product import Product
from evals.stream.model import Setup
from worker.study import Study

FEW, MANY = 10, 100
Learned = dict[str, Any]


def run(
    setup: Setup,
    *,
    repeats: int,
    say: Say,
    sizes: tuple[int, int] = (FEW, MANY),
    now: Callable[[], float] = time.perf_counter,
) -> Figure:
    """Seconds after `sizes[1]` facts over seconds after `sizes[0]`, of `repeats` new facts.

    A fact that is not live at the end in both ledgers took other attempts in them, and gives no ratio. Raises
    RuntimeError where none is.
    """
    first, *facts = studied_facts()
    ledger, (after_start, *new) = facts[: max(sizes) - 1], facts[max(sizes) - 1 :][: 1 + repeats]
    with TemporaryDirectory(prefix="engram-bench-") as folder:
        products = {size: _after(setup, Path(folder) / str(size), first, ledger[: size - 1], say=say) for size in sizes}
        started = {str(size): _learn(product, after_start, now) for size, product in products.items()}
        say(
            "growth: right after a start "
            + ", ".join(f"{size} facts: {s['seconds']:.1f} s" for size, s in started.items())
        )
        learned: dict[int, list[Learned]] = {size: [] for size in sizes}
        for repeat, fact in enumerate(new):
            for size in sizes if repeat % 2 == 0 else sizes[::-1]:
                one = _learn(products[size], fact, now)
                learned[size].append(one)
                say(f"growth: repeat {repeat + 1} of {repeats}, {size} facts: {one['seconds']:.1f} s, {one['outcome']}")
        for product in products.values():
            product.close()
    few, many = (learned[size] for size in sizes)
    both = [(a, b) for a, b in zip(few, many, strict=True) if _is_live(a) and _is_live(b)]
    if not both:
        raise RuntimeError(f"none of {repeats} facts was learned in both ledgers: {learned}")
    return Figure(
        [b["seconds"] / a["seconds"] for a, b in both],
        {
            "facts": list(sizes),
            "learned": {str(size): own for size, own in learned.items()},
            "after_start": started,
            "median_s": {str(size): median(one["seconds"] for one in own) for size, own in learned.items()},
        },
    )


def _after(setup: Setup, home: Path, first: Study, others: list[Study], *, say: Say) -> Product:
    """An Engram that learned `first` and, as it were, `others`."""
    product = Product(setup, home)
    product.learn(first.statement)
    seed(product, others)
    say(f"growth: a ledger of {1 + len(others)} facts; its first: {product.outcome}")
    return product


def _learn(product: Product, fact: Study, now: Callable[[], float]) -> Learned:
    begun = now()
    product.learn(fact.statement)
    return {"seconds": now() - begun, "outcome": product.outcome, "statement": fact.statement}


def _is_live(learned: Learned) -> bool:
    return bool(learned["outcome"].startswith("live"))
