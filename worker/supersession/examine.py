"""Examine a judge with the held-out pairs, alone and in ledgers: `engram supersession examine`.

What the bounds of `worker.supersession.decision` are chosen by.
"""

import argparse
import json
import random
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from scope.encoder import SentenceEncoder, open_encoder
from worker.supersession import ADAPTERS_DIR, DATA_DIR
from worker.supersession.decision import Bounds, is_same_sentence, judged, replaced
from worker.supersession.judge import Judge, NoJudge, Pair, read_judge
from worker.supersession.train import HELD_OUT, Example, above, read_examples

OWN = "own"
CONFLICTS = "conflicts.jsonl"  # of held-out statements that were not written together
_LEVELS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
_BESIDE = (0.7, 0.8, 0.9, 0.95)
_ALL_SETS = "all"


@dataclass(frozen=True, slots=True)
class Ledger:
    """A statement told to a ledger that holds its pair's earlier one, as `OWN`, and others' by their numbers.

    `probabilities`: of those that were judged, by id.
    """

    example: Example
    earlier: Mapping[str, str]
    probabilities: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Counts:
    """`found` of `changes`; `others`: changes told that replaced other facts; `wrong`: of `look_alikes`, which replace
    nothing, those that replaced something."""

    found: int
    changes: int
    others: int
    wrong: int
    look_alikes: int


def area_under_curve(probabilities: Sequence[float], examples: Sequence[Example]) -> float:
    """How often a change is found more probable than a look-alike, of all draws of one each."""
    of = np.array(probabilities)
    is_change = np.array([each.replaces for each in examples])
    before = of[is_change, None] > of[None, ~is_change]
    same = of[is_change, None] == of[None, ~is_change]
    return float((before + 0.5 * same).mean())


def tell(
    examples: Sequence[Example],
    *,
    others: int,
    seed: int,
    sentences: SentenceEncoder,
    judge: Judge,
    conflicts: Set[Pair] = frozenset(),
) -> Iterator[Ledger]:
    """Each new statement to a ledger of its old one and so many others' old ones, drawn at random, without those that
    it is in conflict with."""
    rng = random.Random(seed)
    said = list(dict.fromkeys(each.old for each in examples))
    for each in examples:
        drawn = rng.sample([old for old in said if old != each.old], min(others, len(said) - 1))
        apart = {str(number): old for number, old in enumerate(drawn) if (old, each.new) not in conflicts}
        earlier = {OWN: each.old, **apart}
        yield Ledger(each, earlier, judged(each.new, earlier, sentences=sentences, judge=judge))


def count(ledgers: Sequence[Ledger], bounds: Bounds) -> Counts:
    """What these bounds would replace."""
    changes, look_alikes = (
        [
            replaced(one.example.new, one.earlier, one.probabilities, bounds)
            for one in ledgers
            if one.example.replaces is replaces
        ]
        for replaces in (True, False)
    )
    return Counts(
        found=sum(OWN in found for found in changes),
        changes=len(changes),
        others=sum(bool(found - {OWN}) for found in changes),
        wrong=sum(bool(found) for found in look_alikes),
        look_alikes=len(look_alikes),
    )


def _variants() -> Iterator[Bounds]:
    """The shipped bounds with one of them changed at a time."""
    shipped = Bounds()
    yield from (Bounds(level, shipped.beside, shipped.same_sentence) for level in _LEVELS)
    yield from (Bounds(shipped.most_probable, level, shipped.same_sentence) for level in _BESIDE)
    yield from (Bounds(shipped.most_probable, shipped.beside, level) for level in _LEVELS)


def _pairs_table(sets: Mapping[str, Sequence[Example]], judge: Judge) -> tuple[Table, list[dict[str, object]]]:
    """Changes found and look-alikes taken for one, by held-out set and bound, as single pairs."""
    table = Table(title="pairs alone: changes found; look-alikes taken for one, by bound")
    for header in ("held-out set", "area under the curve", *map(str, _LEVELS)):
        table.add_column(header, justify="right")
    probabilities = {name: judge.probabilities([(each.old, each.new) for each in sets[name]]) for name in sets}
    sets = {**sets, _ALL_SETS: [each for name in sets for each in sets[name]]}
    probabilities[_ALL_SETS] = [each for name in probabilities for each in probabilities[name]]
    rows: list[dict[str, object]] = []
    for name, examples in sets.items():
        area = area_under_curve(probabilities[name], examples)
        found = {level: above(probabilities[name], examples, level) for level in _LEVELS}
        table.add_row(name, f"{area:.4f}", *(f"{changes}; {look_alikes}" for changes, look_alikes in found.values()))
        rows.append({"set": name, "area_under_curve": area, "found_wrong_by_bound": found})
    return table, rows


def _ledgers_table(ledgers: Sequence[Ledger]) -> tuple[Table, list[dict[str, object]]]:
    same = sum(is_same_sentence(one.example.old, one.example.new) for one in ledgers)
    table = Table(title=f"in ledgers ({same} pairs are the same sentence with another value)")
    for header in ("most probable", "beside", "same sentence", "found", "others too", "wrong"):
        table.add_column(header, justify="right")
    rows: list[dict[str, object]] = []
    for bounds in dict.fromkeys(_variants()):
        counts = count(ledgers, bounds)
        table.add_row(
            *(f"{level:g}" for level in asdict(bounds).values()),
            f"{counts.found} of {counts.changes}",
            str(counts.others),
            f"{counts.wrong} of {counts.look_alikes}",
            style="bold" if bounds == Bounds() else None,
        )
        rows.append({**asdict(bounds), **asdict(counts)})
    return table, rows


def main() -> None:
    parser = argparse.ArgumentParser(prog="engram supersession examine", description=__doc__)
    parser.add_argument(
        "--adapters", type=Path, default=ADAPTERS_DIR, help="one, or a folder of them (default: shipped)"
    )
    parser.add_argument("--others", type=int, default=60, help="other earlier statements in a ledger")
    parser.add_argument("--seed", type=int, default=0, help="which others are drawn")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there too")
    options = parser.parse_args()
    console, sentences = Console(), open_encoder()
    try:
        judge = read_judge(sentences, options.adapters)
    except NoJudge as error:
        parser.error(error.message)
    sets = {path.stem: read_examples(path.name) for path in sorted(DATA_DIR.glob(HELD_OUT))}
    pairs, of_pairs = _pairs_table(sets, judge)
    console.print(pairs)
    examples = [each for name in sets for each in sets[name]]
    conflicts = {(each.old, each.new) for each in read_examples(CONFLICTS)}
    told = tell(
        examples, others=options.others, seed=options.seed, sentences=sentences, judge=judge, conflicts=conflicts
    )
    ledgers = list(track(told, "ledgers", total=len(examples), console=console))
    table, of_ledgers = _ledgers_table(ledgers)
    console.print(table)
    if options.json:
        options.json.write_text(json.dumps({"pairs": of_pairs, "ledgers": of_ledgers}, indent=2) + "\n")


if __name__ == "__main__":
    main()
