"""Compute what is reported from what was answered. Pure: no model, no I/O.

A fact's recall is the share of its own probes answered right, 0 to 1. Means are over facts, so that
one with many probes counts as much as one with few.
"""

import random
from collections.abc import Sequence

from engram.grading import is_right, normalise
from evals.stream.datasets import Item, Kind, Probe

Matrix = list[list[float | None]]  # [facts told - 1][fact]: recall of that fact then; None where it was not asked

_BOOTSTRAP_DRAWS = 2000


def checkpoints(n: int, count: int) -> tuple[int, ...]:
    """After how many of `n` facts all earlier ones are asked: up to `count` numbers, evenly spaced, `n` the last."""
    return tuple(sorted({round(n * (index + 1) / count) for index in range(count)} - {0})) if count else (n,)


def share_right(probes: Sequence[Probe], answers: Sequence[str], kind: Kind) -> float | None:
    """Share of the probes of a kind that are answered right; None where there are none."""
    return mean(
        [
            float(is_right(answer, probe.answers))
            for probe, answer in zip(probes, answers, strict=True)
            if probe.kind == kind
        ]
    )


def mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def kept(immediate: Sequence[float], final: Sequence[float]) -> float | None:
    """What is left at the end of what was recalled right after each fact; above 1 where more came than went."""
    before, after = sum(immediate), sum(final)
    return after / before if before else None


def bootstrap(values: Sequence[float], *, seed: int, level: float = 0.95) -> tuple[float, float] | None:
    """The percentile interval of the mean (Efron 1979), drawing facts with replacement."""
    if not values:
        return None
    rng = random.Random(seed)
    means = sorted(sum(rng.choices(values, k=len(values))) / len(values) for _ in range(_BOOTSTRAP_DRAWS))
    cut = round((1 - level) / 2 * _BOOTSTRAP_DRAWS)
    return means[cut], means[-cut - 1]


def by_lag(matrix: Matrix, *, width: int) -> dict[range, float]:
    """Mean recall by how many facts were told after a fact: right after it, then in ranges of `width`, over all that
    was asked. In single numbers other facts would be asked at each."""
    asked: dict[range, list[float]] = {}
    for row, recalls in enumerate(matrix):
        for fact, recall in enumerate(recalls):
            if recall is not None:
                start = (row - fact - 1) // width * width + 1
                lags = range(start, start + width) if row > fact else range(1)
                asked.setdefault(lags, []).append(recall)
    return {lags: sum(asked[lags]) / len(asked[lags]) for lags in sorted(asked, key=lambda lags: lags.start)}


def golds(items: Sequence[Item]) -> frozenset[str]:
    """All that the stream tells."""
    return frozenset(answer for item in items for probe in item.graded for answer in probe.answers)


def is_unchanged(answer: str, base_answer: str) -> bool:
    """Whether two answers are the same but for case, punctuation and articles."""
    return normalise(answer) == normalise(base_answer)
