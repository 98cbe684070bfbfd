"""Count answers that hold another space's facts. Pure: no model, no I/O."""

from collections.abc import Sequence

from engram.grading import normalise, recalls
from evals.leak.run import ASKED, NEIGHBOUR, TOLD, Answers, Found
from evals.stream.datasets import Item, Kind
from evals.stream.metrics import bootstrap, golds, mean, share_right
from evals.stream.records import Told
from evals.stream.tables import Column, Json, Unit

COLUMNS = (
    Column("facts", "facts of its own", Unit.COUNT),
    Column("recall", "recall of them"),
    Column("leak", "leak of the first space's"),
)


def figures(items: Sequence[Item], own: Sequence[Item], found: Found, *, seed: int) -> Json:
    """By space: `recall` of its own facts at the end, without which no leak says nothing, and `leak`.

    `leak`: share of answers to the first space's probes, as a mean over facts, that hold an answer of any of its
    facts which the base's own answer does not; what both spaces were told is no leak. What a changed model says by
    chance counts too. 0 to 1; `intervals`: 95 % over facts.
    """
    told = _told_to_the_first_alone(items, own)
    leaks = {space: _leaks(items, found.asked[space], found.base, told) for space in ASKED}
    recalled = {TOLD: _recalls(items, found.told), NEIGHBOUR: _recalls(own, found.neighbour)}
    return {
        "spaces": {
            space: {
                "facts": len(recalled.get(space, ())),
                "recall": mean(recalled.get(space, ())),
                "leak": mean(leaks[space]) if space in leaks else None,
                "intervals": {
                    "recall": bootstrap(recalled.get(space, ()), seed=seed),
                    "leak": bootstrap(leaks.get(space, ()), seed=seed),
                },
            }
            for space in (TOLD, *ASKED)
        },
        "details": {
            "leaked": {space: _leaked(items, found.asked[space], found.base, told) for space in ASKED},
            "facts": [_fact(item, one, found) for item, one in zip(items, found.told, strict=True)],
            "neighbour": [
                {"statement": item.statement, "outcome": one.outcome}
                for item, one in zip(own, found.neighbour, strict=True)
            ],
        },
    }


def _told_to_the_first_alone(items: Sequence[Item], own: Sequence[Item]) -> frozenset[str]:
    known = {tuple(normalise(gold)) for gold in golds(own)}
    return frozenset(gold for gold in golds(items) if tuple(normalise(gold)) not in known)


def _leaks(items: Sequence[Item], said: Answers, base: Answers, told: frozenset[str]) -> list[float]:
    """Of each fact, the share of its probes whose answer leaks."""
    facts = [list(zip(said[place], base[place], strict=True)) for place in range(len(items))]
    return [sum(recalls(answer, never, told) for answer, never in pairs) / len(pairs) for pairs in facts]


def _leaked(items: Sequence[Item], said: Answers, base: Answers, told: frozenset[str]) -> list[str]:
    """Every question with the answer that leaks."""
    return [
        f"{probe.question} -> {answer}"
        for place, item in enumerate(items)
        for probe, answer, never in zip(item.graded, said[place], base[place], strict=True)
        if recalls(answer, never, told)
    ]


def _recalls(items: Sequence[Item], told: Sequence[Told]) -> list[float]:
    last = told[-1].answers
    shares = [share_right(item.graded, last[place], Kind.OWN) for place, item in enumerate(items)]
    return [share for share in shares if share is not None]


def _fact(item: Item, told: Told, found: Found) -> Json:
    answers = {space: found.asked[space][told.fact] for space in ASKED} | {"base": found.base[told.fact]}
    answers[TOLD] = found.told[-1].answers[told.fact]
    return {
        "statement": item.statement,
        "outcome": told.outcome,
        "probes": [
            {
                "question": probe.question,
                "gold": list(probe.answers),
                **{who: said[number] for who, said in answers.items()},
            }
            for number, probe in enumerate(item.graded)
        ],
    }
