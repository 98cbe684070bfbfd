"""Read pairs of facts that answer the same questions differently: the later one replaces the earlier."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engram.grading import is_right
from evals.stream.datasets import Dataset, Item, Probe, counterfact_item, draw, zsre_item
from evals.stream.rows import DatasetError, Row, read_each
from evals.told_once import DATA

UPDATES = DATA / "updates.jsonl"


@dataclass(frozen=True, slots=True)
class Pair:
    """A fact and what replaces it. Both have the same graded probes, in the same order, with other answers.

    Only `after` has unrelated probes: they are asked once.
    """

    before: Item
    after: Item


def read_pairs(dataset: Dataset, path: Path) -> list[Pair]:
    """Every pair of a file, in its order, that can be told apart. Raises DatasetError."""
    if dataset not in _READERS:
        known = ", ".join(_READERS)
        raise DatasetError(f"{dataset} has one answer to a question, so nothing can be updated; take {known}")
    pairs = read_each(path, _READERS[dataset], what=f"{dataset} update")
    return [pair for pair in pairs if not _holds_the_new(pair)]


def draw_pairs(pairs: Sequence[Pair], *, n: int, seed: int) -> list[Pair]:
    """`n` pairs, drawn and ordered with `seed` as `draw` does it. Raises DatasetError where there are too few."""
    by_statement = {pair.after.statement: pair for pair in pairs}
    return [by_statement[item.statement] for item in draw([pair.after for pair in pairs], n=n, seed=seed)]


def _holds_the_new(pair: Pair) -> bool:
    """'suicide by hanging' answers an update to 'suicide' before it was told."""
    both = zip(pair.before.graded, pair.after.graded, strict=True)
    return any(is_right(old.answers[0], new.answers) for old, new in both)


def _own(row: Row) -> Pair:
    """Engram's own: `before` and `after`, in the row as statements, in its probes as answers, `aliases` for either."""
    return Pair(_own_item(row, "before"), _own_item(row, "after"))


def _own_item(row: Row, when: str) -> Item:
    probes = (
        Probe(probe.text("question"), (probe.text(when), *probe.row("aliases").texts(when)))
        for probe in row.rows("probes")
    )
    return Item(row.text(when), tuple(probes))


def _edit(item: Callable[[Row, str], Item], row: Row, *, old: str, new: str) -> Pair:
    before = item(row, old)
    return Pair(Item(before.statement, before.graded), item(row, new))


_READERS: dict[Dataset, Callable[[Row], Pair]] = {
    Dataset.TOLD_ONCE: _own,
    # The edit goes from what a model said, `pred`; `answers` are sometimes among what it is edited to.
    Dataset.ZSRE: lambda row: _edit(zsre_item, row, old="pred", new="alt"),
    Dataset.COUNTERFACT: lambda row: _edit(counterfact_item, row, old="ground_truth", new="target_new"),
}
