"""Decide which candidates of a run need no further step: the converged and the hopeless ones. Pure: no I/O.

Part of the way through, candidates are compared by how likely they find the right replies to held-out questions and by
how far they have moved from the base, and only the best third goes on: one round of successive halving (Jamieson &
Talwalkar 2016, arXiv 1502.07943) with the factor 3 of Hyperband (Li et al. 2018, arXiv 1603.06560).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stop:
    """Why a candidate's training ended early. A hopeless one is not worth an examination."""

    hopeless: bool
    reason: str


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """When a candidate's training ends early.

    `converged_loss`: mean nats a token on its own notes, over a whole pass. `compared_at`: share of the steps after
    which candidates are compared; `goes_on`: share of them that goes on.
    """

    converged_loss: float = 0.05
    compared_at: float = 0.25
    goes_on: float = 1 / 3


def ended(own_losses: Sequence[float], *, steps_per_pass: int, policy: StopPolicy) -> Stop | None:
    """Why a candidate with these losses on its own notes, step by step, stops now; None if it goes on."""
    last = own_losses[-steps_per_pass:]
    if not all(map(math.isfinite, last)):
        return Stop(True, f"its loss is no finite number after {len(own_losses)} steps")
    if len(last) < steps_per_pass or sum(last) / len(last) >= policy.converged_loss:
        return None
    return converged(len(own_losses))


def converged(steps: int) -> Stop:
    """Why a candidate that has learned enough stops."""
    return Stop(False, f"converged after {steps} steps")


def compared(scores: Sequence[float], *, step: int, policy: StopPolicy) -> dict[int, Stop]:
    """The candidates that do not go on, by their scores (the higher the better, in nats). NaN is the worst of all."""
    order = sorted(range(len(scores)), key=lambda c: _worst_if_nan(scores[c]), reverse=True)
    behind = order[max(1, math.ceil(policy.goes_on * len(order))) :]
    best = scores[order[0]]
    return {
        c: Stop(
            True,
            f"stopped after {step} steps: likelihood of the right replies to held-out questions, less the weighted "
            f"divergence from the base: {scores[c]:.2f} nats a token, the best candidate's {best:.2f}",
        )
        for c in sorted(behind)
    }


def finalists(count: int, stops: Mapping[int, Stop]) -> list[int]:
    """Which of `count` candidates are examined: all but the hopeless; without any hope all, and the gate says why."""
    return [c for c in range(count) if c not in stops or not stops[c].hopeless] or list(range(count))


def _worst_if_nan(score: float) -> float:
    return -math.inf if math.isnan(score) else score
