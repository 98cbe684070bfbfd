"""Decide when to ask for a method's curve, and make it from what was answered. Pure: no model, no I/O."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

from evals.stream.datasets import Item, Kind
from evals.stream.metrics import bootstrap, mean, share_right
from evals.stream.plan import Plan, own_and_all
from evals.stream.records import Besides, Told
from evals.stream.reference import BaseAnswers, Questions
from evals.stream.report import held, held_details
from evals.stream.tables import HELD, Column, Json, Unit

COLUMNS = (
    Column("facts", "facts told", Unit.COUNT),
    Column("recall", "recall of all"),
    Column("immediate", "recall right after, since the last row"),
    *HELD,
    Column("seconds_per_fact", "seconds a fact", Unit.SECONDS),
)


def make_plan(items: Sequence[Item], checkpoints: Sequence[int]) -> Plan:
    """Each fact is asked right after it was told; at the checkpoints all so far, and what must not change."""
    asked_anyway = len(items)
    besides = frozenset(count - 1 for count in checkpoints if count != asked_anyway)
    return replace(own_and_all(items, checkpoints), besides_after=besides)


def figures(
    plan: Plan, told: Sequence[Told], ended: Besides, questions: Questions, base: BaseAnswers, *, seed: int
) -> Json:
    """A method's curve: `points`, one a checkpoint, and its end.

    Of a point, `recall` is that of all facts told so far and `control`, `kl` and `false_recall` are as of then;
    `immediate` and `seconds_per_fact` are of the facts told since the point before. Shares are 0 to 1, `kl` in
    nats a token, `intervals` 95 % over facts.
    """
    last = len(plan.items) - 1
    besides = {one.fact: one.besides for one in told if one.besides} | {last: ended}
    points = [
        {
            **_recalled(plan.items, told[begin : fact + 1], seed=seed),
            **held(plan.items[: fact + 1], besides[fact], questions, base),
        }
        for begin, fact in _since(sorted(besides))
    ]
    return {"points": points, "details": {"at_the_end": held_details(plan.items, ended, questions, base)}}


def rows(methods: Mapping[str, Json]) -> list[tuple[str, Json]]:
    """The points of all methods, each under its method's name."""
    return [(name, point) for name, one in methods.items() for point in one["points"]]


def _since(places: Sequence[int]) -> Iterator[tuple[int, int]]:
    """For each checkpoint the first fact after the one before it, and itself."""
    return ((before + 1, place) for before, place in pairwise([-1, *places]))


def _recalled(items: Sequence[Item], since: Sequence[Told], *, seed: int) -> Json:
    """`since`: what was told since the last checkpoint, up to and with this one."""
    now = since[-1]
    recalls = [_own(items, now, fact) for fact in range(now.fact + 1)]
    return {
        "facts": len(recalls),
        "recall": mean(recalls),
        "immediate": mean([_own(items, one, one.fact) for one in since]),
        "seconds_per_fact": mean([one.seconds for one in since]),
        "intervals": {"recall": bootstrap(recalls, seed=seed)},
    }


def _own(items: Sequence[Item], told: Told, fact: int) -> float:
    recall = share_right(items[fact].graded, told.answers[fact], Kind.OWN)
    assert recall is not None, "every fact has a probe of its own"
    return recall
