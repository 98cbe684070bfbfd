"""Decide when the old and the new answers are asked for, and count them. Pure: no model, no I/O."""

from collections.abc import Sequence

from engram.grading import is_right
from evals.stream.datasets import Item, Kind
from evals.stream.metrics import bootstrap, mean, share_right
from evals.stream.plan import Plan
from evals.stream.records import Besides, Told
from evals.stream.reference import BaseAnswers, Questions
from evals.stream.report import edits, held, held_details
from evals.stream.tables import HELD, Column, Json, Unit
from evals.update.pairs import Pair

COLUMNS = (
    Column("old_answer", "old answer, before the updates"),
    Column("new_answer_immediate", "new answer, right after"),
    Column("stale_answer_immediate", "stale answer, right after"),
    Column("new_answer", "new answer, after all"),
    Column("stale_answer", "stale answer, after all"),
    Column("rephrased", "new answer, rephrased"),
    Column("unrelated", "unrelated unchanged"),
    *HELD,
    Column("seconds_per_update", "seconds an update", Unit.SECONDS),
)


def make_plan(pairs: Sequence[Pair]) -> Plan:
    """All facts, then all that replace them, in the same order.

    Each is asked about right after it was told; the old ones all before the first update, the new ones after the last.
    """
    n = len(pairs)
    items = (*(pair.before for pair in pairs), *(pair.after for pair in pairs))
    asked: list[tuple[int, ...]] = [(k,) for k in range(2 * n)]
    asked[n - 1], asked[2 * n - 1] = tuple(range(n)), tuple(range(n, 2 * n))
    return Plan(items, tuple(asked))


def figures(
    pairs: Sequence[Pair], told: Sequence[Told], ended: Besides, questions: Questions, base: BaseAnswers, *, seed: int
) -> Json:
    """A method's figures, shares of a pair's own probes, as means over pairs, 0 to 1.

    `new_answer`: answered with what holds now; `stale_answer`: with what held before, and without the new answer.
    `..._immediate` right after the update was told, else after the last one. `old_answer`: before the updates,
    answered with what held then. `intervals`: 95 % over pairs.
    """
    n = len(pairs)
    before = [told[n - 1].answers[k] for k in range(n)]
    immediate = [told[n + k].answers[n + k] for k in range(n)]
    last = [told[-1].answers[n + k] for k in range(n)]
    shares = {
        "old_answer": [_new(pair.before, said) for pair, said in zip(pairs, before, strict=True)],
        "new_answer_immediate": [_new(pair.after, said) for pair, said in zip(pairs, immediate, strict=True)],
        "stale_answer_immediate": [_stale(pair, said) for pair, said in zip(pairs, immediate, strict=True)],
        "new_answer": [_new(pair.after, said) for pair, said in zip(pairs, last, strict=True)],
        "stale_answer": [_stale(pair, said) for pair, said in zip(pairs, last, strict=True)],
    }
    items = [item for pair in pairs for item in (pair.before, pair.after)]
    afters = [pair.after for pair in pairs]
    return {
        **{name: mean(values) for name, values in shares.items()},
        **held(items, ended, questions, base),
        **edits(list(zip(afters, last, strict=True)), ended, base),
        "seconds_per_update": mean([one.seconds for one in told[n:]]),
        "intervals": {name: bootstrap(values, seed=seed) for name, values in shares.items()},
        "details": {
            "updates": [
                _update(pair, told[k], told[n + k], answers)
                for k, (pair, *answers) in enumerate(zip(pairs, before, immediate, last, strict=True))
            ],
            **held_details(items, ended, questions, base),
        },
    }


def _new(item: Item, answers: Sequence[str]) -> float:
    share = share_right(item.graded, answers, Kind.OWN)
    assert share is not None, "every fact has a probe of its own"
    return share


def _stale(pair: Pair, answers: Sequence[str]) -> float:
    """Share of the own probes that are answered with the old answer alone: one that holds both tells the new one."""
    own = [
        is_right(answer, old.answers) and not is_right(answer, new.answers)
        for old, new, answer in zip(pair.before.graded, pair.after.graded, answers, strict=True)
        if new.kind == Kind.OWN
    ]
    return sum(own) / len(own)


def _update(pair: Pair, told: Told, updated: Told, answers: Sequence[Sequence[str]]) -> Json:
    """`answers`: before the updates, right after this one, and after the last, each by probe."""
    probes = zip(pair.before.graded, pair.after.graded, *answers, strict=True)
    return {
        "before": pair.before.statement,
        "after": pair.after.statement,
        "outcomes": [told.outcome, updated.outcome],
        "probes": [
            {
                "question": new.question,
                "kind": new.kind.value,
                "old": list(old.answers),
                "new": list(new.answers),
                "before": before,
                "immediate": immediate,
                "final": final,
            }
            for old, new, before, immediate, final in probes
        ],
    }
