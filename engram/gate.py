"""Decide whether a candidate may be published. Pure: no I/O.

Slice by slice, never on a mean alone: a candidate that learned its fact perfectly and forgot
another is not let in. Few probes carry much noise, so each loss allowance is widened by one
probe where a share of the allowance would be less than one probe.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any


class ProbeKind(StrEnum):
    RELIABILITY = "reliability"
    GENERALIZATION = "generalization"
    PORTABILITY = "portability"
    LOCALITY = "locality"
    RETENTION = "retention"
    FALSE_RECALL = "false_recall"
    LEAK = "leak"
    FORGOTTEN = "forgotten"  # of a fact that a rebuild leaves out: recall must be back at the base's


@dataclass(frozen=True, slots=True)
class SliceScore:
    """Right answers out of `asked`, and what the live version got on the same probes."""

    asked: int
    right: int
    live_right: int = 0

    @property
    def share(self) -> float:
        return self.right / self.asked if self.asked else 1.0


@dataclass(frozen=True, slots=True)
class ProbeReport:
    """Scores of one candidate. `false_recall.right` counts answers that did NOT recall what was never told.

    `kl` is the mean KL(base || candidate) per answer token on held-out unrelated prompts, in nats.
    `margin` is the mean gain over the live version in log-likelihood of the right replies to the new facts' probes,
    in nats a token: finer than free answers, of which there are few. `faded` is what the right replies about an earlier
    fact lost of it in weights that went on from that fact's, the most of all such facts; None where there is none.
    `fact_right` maps each new fact to the share of its probes answered right.
    """

    slices: Mapping[str, SliceScore]
    kl: float = 0.0
    margin: float = 0.0
    faded: float | None = None
    fact_right: Mapping[str, float] = field(default_factory=dict)
    finite: bool = True

    def to_json(self) -> dict[str, Any]:
        return {
            "slices": {kind: {**asdict(score), "share": score.share} for kind, score in self.slices.items()},
            "kl": self.kl,
            "margin": self.margin,
            "faded": self.faded,
            "fact_right": dict(self.fact_right),
            "finite": self.finite,
        }


@dataclass(frozen=True, slots=True)
class GatePolicy:
    """Thresholds, each documented in Settings (`ENGRAM_GATE_*`).

    `teaches` is False for a candidate that shall only keep what is known, better than the live version.
    """

    min_reliability: float = 0.6
    min_gain: float = 0.3
    max_retention_loss: float = 0.15
    max_faded: float = 0.05
    min_locality: float = 0.85
    max_false_recall: float = 0.85
    max_kl: float = 0.3
    teaches: bool = True


@dataclass(frozen=True, slots=True)
class Reason:
    """One check: `value` against `bound`."""

    check: str
    passed: bool
    value: float
    bound: float
    text: str


@dataclass(frozen=True, slots=True)
class GateDecision:
    admitted: bool
    reasons: tuple[Reason, ...]

    def to_json(self) -> dict[str, Any]:
        return {"admitted": self.admitted, "reasons": [asdict(reason) for reason in self.reasons]}

    @property
    def failures(self) -> str:
        return "; ".join(reason.text for reason in self.reasons if not reason.passed)


_STOPPED = "stopped"
_NOT_FINITE = "the adapter holds NaN or infinite numbers"
NEW_FACT_KINDS = (ProbeKind.RELIABILITY, ProbeKind.GENERALIZATION, ProbeKind.PORTABILITY)


def decide(report: ProbeReport, *, policy: GatePolicy) -> GateDecision:
    """Admit a candidate only if every check passes."""
    if not report.finite:
        reason = Reason("finite", False, 0.0, 1.0, _NOT_FINITE)
        return GateDecision(False, (reason,))
    learned = _learned(report, policy) if policy.teaches else []
    reasons = [*learned, *_kept(report, policy), _kl(report, policy)]
    return GateDecision(all(reason.passed for reason in reasons), tuple(reasons))


def decide_unchanged(report: ProbeReport) -> GateDecision:
    """The decision on weights that serve already, where nothing was trained: what else they serve must not be judged
    again, since to be without what is forgotten comes first."""
    text = "these weights serve already, and nothing was trained" if report.finite else _NOT_FINITE
    return GateDecision(report.finite, (Reason("finite", report.finite, float(report.finite), 1.0, text),))


def not_examined(reason: str) -> GateDecision:
    """The decision on a candidate whose training was stopped as hopeless."""
    return GateDecision(False, (Reason(_STOPPED, False, 0.0, 1.0, reason),))


def stopped_early(decision: Mapping[str, Any] | None) -> bool:
    """Whether a stored decision is one of `not_examined`."""
    return any(reason["check"] == _STOPPED for reason in (decision or {}).get("reasons") or ())


def is_too_strong(decision: GateDecision) -> bool:
    """Whether a candidate learned what it should, and was refused for nothing but what it disturbs: what is nearer to
    the base may pass."""
    failed = {reason.check for reason in decision.reasons if not reason.passed}
    return bool(failed) and failed <= _DISTURBANCES


def quality(report: ProbeReport) -> float:
    """Order admitted candidates: what was learned counts most, then what was kept, then closeness to the base.

    The likelihood margin decides between those that answer alike.
    """
    learned, asked, _ = _totals(report)
    kept = [report.slices[kind].share for kind in _KEPT_KINDS if kind in report.slices]
    return learned / max(asked, 1) + 0.5 * sum(kept) / max(len(kept), 1) - 0.1 * report.kl + 0.01 * report.margin


# Not what is lost of earlier facts: their own weights stay as they are, so it is the scope that keeps them away.
_DISTURBANCES = frozenset({"locality", "false_recall", "kl"})
_KEPT_KINDS = (ProbeKind.RETENTION, ProbeKind.LOCALITY, ProbeKind.FALSE_RECALL)


def _totals(report: ProbeReport) -> tuple[int, int, int]:
    scores = [report.slices[kind] for kind in NEW_FACT_KINDS if kind in report.slices]
    return sum(s.right for s in scores), sum(s.asked for s in scores), sum(s.live_right for s in scores)


def _learned(report: ProbeReport, policy: GatePolicy) -> list[Reason]:
    right, asked, live_right = _totals(report)
    if not asked:
        return [Reason("probes", False, 0, 1, "no probe examines the new facts")]
    wrong, gain = asked - right, (right - live_right) / asked
    # Of two probes one may be the author's nonsense; but something must have been learned.
    allowed = min(_allowance(1 - policy.min_reliability, asked), asked - 1 if policy.min_reliability > 0 else asked)
    # What the live version already answers needs no gain.
    needed_gain = min(policy.min_gain, 1 - live_right / asked)
    return [
        _at_most("new_facts", wrong, allowed, f"new facts: {right} of {asked} probes right, {wrong} wrong"),
        _at_least("gain", gain, needed_gain, f"gain over live on the new facts' probes: {gain:+.2f}"),
    ]


def _kept(report: ProbeReport, policy: GatePolicy) -> list[Reason]:
    reasons = []
    if score := report.slices.get(ProbeKind.RETENTION):
        lost = score.live_right - score.right
        allowed = _allowance(policy.max_retention_loss, score.live_right)
        reasons.append(_at_most("retention", lost, allowed, f"earlier facts: {lost} probes lost of {score.live_right}"))
    if report.faded is not None:
        text = f"an earlier fact in the same weights: right replies less likely by {report.faded:.2f} nats a token"
        reasons.append(_at_most("faded", report.faded, policy.max_faded, text))
    if score := report.slices.get(ProbeKind.LOCALITY):
        lost = score.live_right - score.right
        allowed = _allowance(1 - policy.min_locality, score.live_right)
        reasons.append(_at_most("locality", lost, allowed, f"controls: {lost} lost of {score.live_right}"))
    if score := report.slices.get(ProbeKind.FORGOTTEN):
        recalled = score.right - score.live_right
        text = f"forgotten facts: {recalled} probes more answered than by the base"
        reasons.append(_at_most("forgotten", recalled, _allowance(0.0, score.asked), text))
    if score := report.slices.get(ProbeKind.FALSE_RECALL):
        recalled = score.asked - score.right
        allowed = _allowance(policy.max_false_recall, score.asked)
        text = f"never told: {recalled} of {score.asked} answered with something learned"
        reasons.append(_at_most("false_recall", recalled, allowed, text))
    return reasons


def _kl(report: ProbeReport, policy: GatePolicy) -> Reason:
    text = f"KL to the base on unrelated prompts: {report.kl:.3f} nats a token"
    return _at_most("kl", report.kl, policy.max_kl, text)


def _allowance(share: float, asked: int) -> int:
    """Whole probes that may go wrong: at least one, since one flip is within noise."""
    return max(1, math.floor(share * asked + 1e-9)) if asked else 0


def _at_least(check: str, value: float, bound: float, text: str) -> Reason:
    return Reason(check, value >= bound - 1e-9, value, bound, f"{text}, at least {bound:.2f} wanted")


def _at_most(check: str, value: float, bound: float, text: str) -> Reason:
    passed = not math.isnan(value) and value <= bound + 1e-9
    return Reason(check, passed, value, bound, f"{text}, at most {bound:g} allowed")
