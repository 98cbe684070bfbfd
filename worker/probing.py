"""Examine candidates: put probes to live version and candidates, and count what each got right.

Answers are generated freely, never teacher-forced, and graded by containment of a gold answer.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, TypeVar

import torch

from engram.gate import NEW_FACT_KINDS, ProbeKind, ProbeReport, SliceScore
from engram.grading import is_right, recalls
from engram.routing import OWN_SHARD
from scope.decision import Scope
from worker.learner import Learner
from worker.self_edits import HeldOut, Note, right_replies
from worker.served import Served, answer_as_served, answered_by
from worker.training.stacked_lora import Weights, stack

Item = TypeVar("Item")
_MOST_FADING = 24  # the newest facts of a shard that may hold any number: what a run costs does not grow with it


@dataclass(frozen=True, slots=True)
class Resumed:
    """The weights, one candidate's, that training went on from, and the right replies to questions about each fact that
    they hold, by question."""

    weights: Weights
    replies: Sequence[Mapping[str, str]]

    @classmethod
    def of(cls, weights: Weights, probes: Sequence[HeldOut], notes: Sequence[Note]) -> "Resumed":
        """`probes` and `notes` of the facts that these weights hold."""
        facts = list(dict.fromkeys(probe.fact_id for probe in probes))[-_MOST_FADING:]
        return cls(weights, [right_replies([p for p in probes if p.fact_id == fact], notes) for fact in facts])


@dataclass(frozen=True, slots=True)
class Examination:
    """What to ask: probes of new and of earlier facts; `told` and `known_answers` keep false recall honest.

    `replies`: by question of a new fact's probe, the whole reply whose likelihood is measured.
    """

    new: Sequence[HeldOut]
    earlier: Sequence[HeldOut]
    told: frozenset[str]
    known_answers: frozenset[str]
    forgotten: Sequence[HeldOut] = ()
    replies: Mapping[str, str] = field(default_factory=dict)
    resumed: Resumed | None = None
    max_earlier: int = 24
    max_controls: int = 20
    max_never_told: int = 16
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Asked:
    """One question as it was put, and whether the answer counts as right. `shard` gave it; None is the base."""

    kind: str
    question: str
    answers: tuple[str, ...]
    answer: str
    right: bool
    fact_id: str | None = None
    shard: int | None = OWN_SHARD

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Asked":
        """One as it is kept with a candidate's report. What was kept before there were shards is of one's own."""
        kept = {name: value for name, value in stored.items() if name != "in_scope"}
        shard = OWN_SHARD if stored.get("in_scope", True) else None
        return cls(**{"shard": shard, **kept, "answers": tuple(stored["answers"])})


@dataclass(frozen=True, slots=True)
class Examined:
    """A candidate's report, and every answer behind it."""

    report: ProbeReport
    asked: tuple[Asked, ...]


def examine(learner: Learner, live: Served, candidates: Served, examination: Examination) -> list[Examined]:
    """Ask all candidates the same questions, in one batch, as they would be served.

    The live version is asked about facts only. What must not change is measured against the base, whose answers are
    known. Not asked is what the same shard answers before and after: its weights never change. Divergence, margin and
    what was never told are of the weights alone: no scope keeps out all that nobody told.
    """
    facts, controls = (
        _changed(learner, live, _placed(learner, items, candidates.scope))
        for items in (_fact_questions(examination), _controls(learner, examination))
    )
    facts = _some(facts, ProbeKind.RETENTION, most=examination.max_earlier, seed=examination.seed)
    never_told = _never_told(learner, examination)
    about_facts = answer_as_served(learner, [item.question for item in facts], candidates)
    about_controls = answer_as_served(learner, [item.question for item in controls], candidates)
    recalled = learner.begin_answers([item.question for item in never_told], candidates.weights)
    compared = _compared_with(learner, live, facts)
    before = [_grade(item, answer, learner, examination) for item, answer in zip(facts, compared, strict=True)]
    unchanged = [*controls, *never_told]
    before += [_grade(item, learner.base_answer(item.question), learner, examination) for item in unchanged]
    graded = [
        [
            _grade(item, answer, learner, examination)
            for item, answer in zip([*facts, *unchanged], [*known, *control, *recall], strict=True)
        ]
        for known, control, recall in zip(about_facts, about_controls, recalled, strict=True)
    ]
    divergence = learner.trainer.kl(candidates.weights, learner.held_out_anchors())
    margins = _margins(learner, live.weights, candidates.weights, examination.replies)
    faded = _faded(learner, examination.resumed, candidates.weights)
    finite = _finite(candidates.weights)
    return [
        Examined(_report(asked, before, kl=kl, margin=margin, faded=less, finite=ok), tuple(asked))
        for asked, kl, margin, less, ok in zip(graded, divergence, margins, faded, finite, strict=True)
    ]


def unknown_to(learner: Learner, probes: Sequence[HeldOut]) -> list[HeldOut]:
    """The probes that the base does not answer right by itself: the others do not show that anything was learned.

    Of a fact that the base knows altogether, all probes count.
    """
    answers = learner.base_answers([probe.question for probe in probes])
    unknown = [p for p, answer in zip(probes, answers, strict=True) if not is_right(answer, p.answers)]
    examined = {probe.fact_id for probe in unknown}
    return [probe for probe in probes if probe in unknown or probe.fact_id not in examined]


def _margins(learner: Learner, live: Weights, candidates: Weights, replies: Mapping[str, str]) -> list[float]:
    """Mean gain of each candidate over the live version in log-likelihood of the right replies, in nats a token."""
    rows = [learner.rows.row(question, reply) for question, reply in replies.items()]
    if not rows:
        return [0.0] * _count(candidates)
    before, *after = (sum(own) / len(own) for own in learner.trainer.likelihoods(stack(live, candidates), rows))
    return [likelihood - before for likelihood in after]


def _faded(learner: Learner, resumed: Resumed | None, candidates: Weights) -> list[float | None]:
    """The most that each candidate lost of one fact's likelihood, nats a token."""
    if resumed is None or not resumed.replies:
        return [None] * _count(candidates)
    rows = [learner.rows.row(question, reply) for one in resumed.replies for question, reply in one.items()]
    before, *after = learner.trainer.likelihoods(stack(resumed.weights, candidates), rows)
    return [_most_lost(before, own, [len(one) for one in resumed.replies]) for own in after]


def _most_lost(before: Sequence[float], after: Sequence[float], sizes: Sequence[int]) -> float:
    """The largest mean loss of consecutive groups of so many; infinite where a number is none."""
    lost = iter(old - new for old, new in zip(before, after, strict=True))
    means = [sum(islice(lost, size)) / size for size in sizes]
    return max(means) if all(map(math.isfinite, means)) else math.inf


def _count(candidates: Weights) -> int:
    return next(iter(candidates.values())).shape[0]


def _fact_questions(examination: Examination) -> list[Asked]:
    new = [Asked(item.kind, item.question, item.answers, "", False, item.fact_id) for item in examination.new]
    kinds = ((ProbeKind.RETENTION, examination.earlier), (ProbeKind.FORGOTTEN, examination.forgotten))
    return new + [
        Asked(kind, item.question, item.answers, "", False, item.fact_id) for kind, items in kinds for item in items
    ]


def _controls(learner: Learner, examination: Examination) -> list[Asked]:
    drawn = _drawn(learner.controls(), most=examination.max_controls, seed=examination.seed)
    return [Asked(ProbeKind.LOCALITY, control.question, control.answers, "", False) for control in drawn]


def _never_told(learner: Learner, examination: Examination) -> list[Asked]:
    drawn = _drawn(learner.never_told(examination.told), most=examination.max_never_told, seed=examination.seed)
    return [Asked(ProbeKind.FALSE_RECALL, question, (), "", False) for question in drawn]


def _drawn(items: Sequence[Item], *, most: int, seed: int) -> list[Item]:
    return random.Random(seed).sample(items, min(most, len(items)))


def _placed(learner: Learner, items: Sequence[Asked], scope: Scope | None) -> list[Asked]:
    answering = learner.answering([item.question for item in items], scope)
    return [replace(item, shard=shard) for item, shard in zip(items, answering, strict=True)]


def _some(items: Sequence[Asked], kind: ProbeKind, *, most: int, seed: int) -> list[Asked]:
    """All but of one kind, of which at most so many are drawn."""
    own = [item for item in items if item.kind == kind]
    drawn = _drawn(own, most=most, seed=seed)
    return [item for item in items if item.kind != kind or item in drawn]


def _changed(learner: Learner, live: Served, items: Sequence[Asked]) -> list[Asked]:
    """Those whose answer a publication may change, all about new and forgotten facts, and what the base answers as it
    ever did."""
    before = answered_by(learner, [item.question for item in items], live)
    return [
        item
        for item, shard in zip(items, before, strict=True)
        if item.kind in (*NEW_FACT_KINDS, ProbeKind.FORGOTTEN) or item.shard in (OWN_SHARD, None) or item.shard != shard
    ]


def _compared_with(learner: Learner, live: Served, facts: Sequence[Asked]) -> list[str]:
    """What candidates' answers are compared with: the live version's, for what is forgotten the base's."""
    forgotten, known = (
        [item.question for item in facts if (item.kind == ProbeKind.FORGOTTEN) is is_forgotten]
        for is_forgotten in (True, False)
    )
    by_base, by_live = iter(learner.base_answers(forgotten)), iter(answer_as_served(learner, known, live)[0])
    return [next(by_base if item.kind == ProbeKind.FORGOTTEN else by_live) for item in facts]


def _grade(item: Asked, answer: str, learner: Learner, examination: Examination) -> Asked:
    if item.kind == ProbeKind.FALSE_RECALL:
        right = not recalls(answer, learner.base_answer(item.question), examination.known_answers)
    else:
        right = is_right(answer, item.answers)
    return replace(item, answer=answer, right=right)


def _report(
    asked: Sequence[Asked], live: Sequence[Asked], *, kl: float, margin: float, faded: float | None, finite: bool
) -> ProbeReport:
    slices: dict[str, SliceScore] = {}
    for kind in dict.fromkeys(item.kind for item in asked):
        pairs = [(item, before) for item, before in zip(asked, live, strict=True) if item.kind == kind]
        slices[kind] = SliceScore(
            len(pairs), sum(item.right for item, _ in pairs), sum(before.right for _, before in pairs)
        )
    new = [item for item in asked if item.fact_id and item.kind in NEW_FACT_KINDS]
    facts = dict.fromkeys(item.fact_id for item in new if item.fact_id)
    fact_right = {
        fact: sum(i.right for i in new if i.fact_id == fact) / sum(i.fact_id == fact for i in new) for fact in facts
    }
    return ProbeReport(
        slices,
        kl=kl if math.isfinite(kl) else 99.0,
        margin=margin if math.isfinite(margin) else -99.0,
        faded=faded if faded is None or math.isfinite(faded) else 99.0,
        fact_right=fact_right,
        finite=finite,
    )


def _finite(candidates: Weights) -> list[bool]:
    finite_C = torch.stack([weight.isfinite().all(-1).all(-1) for weight in candidates.values()]).all(0)
    return [bool(ok) for ok in finite_C]
