"""Decide what is told in which order, and what is asked when. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from evals.stream.datasets import Item


@dataclass(frozen=True, slots=True)
class Plan:
    """`asked[k]`: places in `items` of the facts that are asked after item k was told, k among them.

    `besides_after`: places of the items after which what must not change is asked too. After the last it always is.
    """

    items: tuple[Item, ...]
    asked: tuple[tuple[int, ...], ...]
    besides_after: frozenset[int] = frozenset()


def own_and_all(items: Sequence[Item], checkpoints: Sequence[int]) -> Plan:
    """Each fact is asked right after it was told, and all so far after so many facts as `checkpoints` says."""
    asked = (tuple(range(k + 1)) if k + 1 in checkpoints else (k,) for k in range(len(items)))
    return Plan(tuple(items), tuple(asked))
