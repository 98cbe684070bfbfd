"""Ask versions as they are served: within their scope they answer, outside of it the base does."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from scope import decision
from scope.decision import Scope
from worker.learner import Learner
from worker.training.stacked_lora import Weights, stack


@dataclass(frozen=True, slots=True)
class Served:
    """Stacked weights of C versions or candidates that share one scope; with None they answer everything."""

    weights: Weights
    scope: Scope | None = None


def read_served(learner: Learner, folder: Path) -> Served:
    """A published version from its files."""
    return Served(learner.lora.load(folder), decision.load(folder))


def save_served(learner: Learner, served: Served, candidate: int, folder: Path) -> None:
    """Write candidate number `candidate` as a version's files."""
    learner.lora.save(served.weights, candidate, folder)
    if served.scope:
        served.scope.save(folder)


def answer_as_served(learner: Learner, questions: Sequence[str], *served: Served) -> list[list[str]]:
    """Free greedy answers, [version][question], in the order of all weights.

    All weights are asked in one batch what any of them answers itself.
    """
    covered = [learner.covered(questions, one.scope) for one in served]
    inside = [number for number in range(len(questions)) if any(own[number] for own in covered)]
    outside = [number for number in range(len(questions)) if not all(own[number] for own in covered)]
    weights = served[0].weights if len(served) == 1 else stack(*(one.weights for one in served))
    asked = learner.answer([questions[number] for number in inside], weights) if inside else None
    base = dict(zip(outside, learner.base_answers([questions[number] for number in outside]), strict=True))
    places = {number: place for place, number in enumerate(inside)}
    masks = [own for own, one in zip(covered, served, strict=True) for _ in range(_count(one.weights))]
    return [
        [asked[row][places[n]] if asked and mask[n] else base[n] for n in range(len(questions))]
        for row, mask in enumerate(masks)
    ]


def _count(weights: Weights) -> int:
    return next(iter(weights.values())).shape[0]
