"""The facts that candidates are made from, each with questions that a person wrote. Pure but for reading files.

Without a path these are the author's held-out examples: it never trained on them.
"""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engram.grading import is_right
from evals.stream.rows import Row, read_each
from worker.author.dataset import Example, load_examples, split, studied_facts


@dataclass(frozen=True, slots=True)
class Detail:
    """One thing to remember of a fact."""

    answers: tuple[str, ...]
    questions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """A statement, and what a person would ask about it."""

    fact_id: str
    statement: str
    details: tuple[Detail, ...]

    @property
    def answers(self) -> tuple[str, ...]:
        return tuple(answer for detail in self.details for answer in detail.answers)

    @property
    def questions(self) -> tuple[str, ...]:
        return tuple(question for detail in self.details for question in detail.questions)

    def collides(self, other: "Fact") -> bool:
        """Whether an answer of one stands in the other: knowing one would look like knowing both."""
        return is_right(self.statement, other.answers) or is_right(other.statement, self.answers)


@dataclass(frozen=True, slots=True)
class Cast:
    """Facts for some lessons: those told earlier, the new ones, and one that belongs to another space."""

    earlier: tuple[Fact, ...]
    new: tuple[Fact, ...]
    other: Fact


def load(path: Path | None) -> list[Fact]:
    """The author's held-out examples, or the rows of a told-once file.

    Raises DatasetError for a file of another format, RuntimeError where there are too few.
    """
    facts = read_each(path, _of_row, what="told-once") if path else _of_examples(split(load_examples())[1])
    if len(facts) < _LEAST:
        raise RuntimeError(f"{path or 'the held-out examples'} hold {len(facts)} facts with questions, not {_LEAST}")
    return facts


_LEAST = 12


def cast(facts: Sequence[Fact], *, group: int, num_earlier: int, num_new: int, seed: int) -> Cast:
    """The facts of group number `group`: new ones in turn, so that each fact is new once before any is again."""
    order = list(facts)
    random.Random(seed).shuffle(order)
    start = group * num_new
    new = [order[(start + number) % len(order)] for number in range(num_new)]
    rest = [fact for fact in order if fact not in new]
    random.Random(f"{seed} cast {group}").shuffle(rest)
    chosen: list[Fact] = []
    for fact in rest:
        if len(chosen) <= num_earlier and not any(fact.collides(other) for other in (*new, *chosen)):
            chosen.append(fact)
    if len(chosen) < 2:
        raise RuntimeError("the facts are too much alike: every answer stands in the others")
    return Cast(tuple(chosen[:-1]), tuple(new), chosen[-1])


def _of_examples(examples: Iterable[Example]) -> list[Fact]:
    return [
        Fact(
            f"fact_{number}",
            quote["quote"],
            tuple(Detail((detail["answer"],), tuple(detail["questions"])) for detail in quote["details"]),
        )
        for number, quote in enumerate(studied_facts(examples))
    ]


def _of_row(row: Row) -> Fact:
    return Fact(
        f"fact_{row.text('id')}",
        row.text("statement"),
        tuple(
            Detail((probe.text("answer"), *probe.texts("aliases")), (probe.text("question"),))
            for probe in row.rows("probes")
        ),
    )
