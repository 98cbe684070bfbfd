"""Make the figures of forgetting from what was answered and what is left. Pure: no model, no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from engram.grading import is_right
from engram.lifecycle import AdapterStatus, FactStatus
from evals.forget.run import Found
from evals.stream.datasets import Item, Kind
from evals.stream.metrics import bootstrap, kept, mean, share_right
from evals.stream.reference import BaseAnswers, Questions
from evals.stream.report import held, held_details
from evals.stream.tables import HELD, Column, Json, Unit

COLUMNS = (
    Column("forgotten", "forgotten", Unit.COUNT),
    Column("recall_before", "their recall before"),
    Column("recall_after", "their recall after"),
    Column("recall_base", "the base's recall"),
    Column("recall_above_base", "after above the base's, points", Unit.POINTS),
    Column("rest_before", "recall of the rest before"),
    Column("rest_after", "recall of the rest after"),
    Column("kept", "kept"),
    *HELD,
    Column("versions", "versions that held them", Unit.COUNT),
    Column("versions_withdrawn", "withdrawn", Unit.COUNT),
    Column("versions_with_files", "with files left", Unit.COUNT),
    Column("seconds", "seconds", Unit.SECONDS),
)


def figures(items: Sequence[Item], found: Found, questions: Questions, base: BaseAnswers, *, seed: int) -> Json:
    """Shares are 0 to 1, as means over facts. `recall_above_base`, in points of a hundred: the share of the forgotten
    facts' probes that are answered right and by the base are not; what the base knows better makes up for none.

    `kept`: recall of the rest after, over that before. `forgotten`: how many facts; `facts_erased`: of how many
    neither statement nor note nor probe is left. `control`, `kl` and `false_recall` are as of the end. `intervals`:
    95 % over facts.
    """
    places = sorted(found.after.left.facts)
    rest = [place for place in range(len(items)) if place not in places]
    before, after = found.told[-1].answers, found.after.answers
    gone = {when: _recalls(items, said, places) for when, said in _named(before, after, found.base)}
    stays = {when: _recalls(items, said, rest) for when, said in _named(before, after, found.base)}
    beyond = [_beyond_base(items[place], after[place], found.base[place]) for place in places]
    above = [100 * share for share in beyond if share is not None]
    shares = {
        **{f"recall_{when}": values for when, values in gone.items()},
        "recall_above_base": above,
        "rest_before": stays["before"],
        "rest_after": stays["after"],
    }
    return {
        "forgotten": len(places),
        **{name: mean(values) for name, values in shares.items()},
        "kept": kept(stays["before"], stays["after"]),
        **held(items, found.after.besides, questions, base),
        **_left(found),
        "seconds": found.after.seconds,
        "intervals": {name: bootstrap(values, seed=seed) for name, values in shares.items()},
        "details": {
            "before": held(items, found.before, questions, base),
            "rebuilds": found.after.left.rebuilds,
            "versions": [asdict(version) for version in found.after.left.versions],
            "facts": [_fact(items[place], found, place) for place in range(len(items))],
            **held_details(items, found.after.besides, questions, base),
        },
    }


def _left(found: Found) -> Json:
    left = found.after.left
    erased = [fact for fact in left.facts.values() if fact["status"] == FactStatus.FORGOTTEN and fact["erased"]]
    return {
        "facts_erased": len(erased),
        "versions": len(left.versions),
        "versions_withdrawn": sum(version.status == AdapterStatus.WITHDRAWN for version in left.versions),
        "versions_with_files": sum(version.has_files for version in left.versions),
    }


Said = Mapping[int, Sequence[str]]


def _named(before: Said, after: Said, base: Said) -> tuple[tuple[str, Said], ...]:
    return ("before", before), ("after", after), ("base", base)


def _recalls(items: Sequence[Item], said: Said, places: Sequence[int]) -> list[float]:
    shares = [share_right(items[place].graded, said[place], Kind.OWN) for place in places]
    return [share for share in shares if share is not None]


def _beyond_base(item: Item, now: Sequence[str], never: Sequence[str]) -> float | None:
    """Share of a fact's own probes that are answered right now, and by the base were not; None where there are none."""
    return mean(
        [
            float(is_right(said, probe.answers) and not is_right(before, probe.answers))
            for probe, said, before in zip(item.graded, now, never, strict=True)
            if probe.kind == Kind.OWN
        ]
    )


def _fact(item: Item, found: Found, place: int) -> Json:
    before, after = found.told[-1].answers[place], found.after.answers[place]
    answers = zip(item.graded, before, after, found.base[place], strict=True)
    return {
        "statement": item.statement,
        "outcome": found.told[place].outcome,
        "forgotten": found.after.left.facts.get(place),
        "probes": [
            {"question": probe.question, "gold": list(probe.answers), "before": then, "after": now, "base": never}
            for probe, then, now, never in answers
        ],
    }
