"""What a training works on: the plan, each candidate's rows, and what one step draws of them. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from worker.training.optimizer import falling
from worker.training.rows import Row
from worker.training.stopping import Stop, StopPolicy

Drawn = TypeVar("Drawn")

NOTE, ANCHOR, REHEARSED = 0, 1, 2


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What the candidates have in common.

    `shared_steps`: the first of the `steps`, which the candidates do as one, on the notes that all of them have.
    `stop`: when a candidate stops early; None trains all to the end.
    """

    steps: int
    shared_steps: int = 0
    notes_per_step: int = 16
    rehearsal_per_step: int = 8
    anchor_weight: float = 1.0
    warmup_steps: int = 2
    max_norm: float = 1.0
    seed: int = 0
    stop: StopPolicy | None = None


@dataclass(frozen=True, slots=True)
class CandidateRows:
    """One candidate's own training material."""

    notes: Sequence[Row]
    learning_rate: float


def in_common(candidates: Sequence[CandidateRows]) -> CandidateRows:
    """What candidates can train on as one: the notes that all have, at the highest of their rates."""
    first, *others = candidates
    shared = set(first.notes).intersection(*(other.notes for other in others))
    rate = max(candidate.learning_rate for candidate in candidates)
    return CandidateRows([row for row in first.notes if row in shared], rate)


@dataclass(slots=True)
class Progress:
    """Losses of a step, by candidate: mean nats a token on all notes and on its own, and KL to the base.

    NaN where there is nothing, or the candidate has stopped. `stopped`: why, by candidate, in their order.
    """

    step: int
    steps: int
    note_loss: list[float] = field(default_factory=list)
    own_loss: list[float] = field(default_factory=list)
    anchor_kl: list[float] = field(default_factory=list)
    stopped: dict[int, Stop] = field(default_factory=dict)

    def for_each(self, count: int) -> "Progress":
        """What one candidate reports that stands for `count`."""
        return Progress(self.step, self.steps, self.note_loss * count, self.own_loss * count, self.anchor_kl * count)


@dataclass(frozen=True, slots=True)
class StepRows:
    """What one step trains on: each candidate's own notes, and what all share."""

    own: list[list[Row]]
    rehearsed: list[Row]
    anchored: list[Row]

    def part(self, number: int, parts: int) -> "StepRows":
        """One of `parts` shares of the rows, for a step that does not fit into memory at once."""
        share = slice(number, None, parts)
        return StepRows([rows[share] for rows in self.own], self.rehearsed[share], self.anchored[share])

    def of(self, candidates: Sequence[int]) -> "StepRows":
        return StepRows([self.own[c] for c in candidates], self.rehearsed, self.anchored)

    @property
    def rows(self) -> list[list[Row]]:
        return [[*own, *self.rehearsed, *self.anchored] for own in self.own]

    @property
    def grouped(self) -> list[list[tuple[Row, int]]]:
        shared = [(row, REHEARSED) for row in self.rehearsed] + [(row, ANCHOR) for row in self.anchored]
        return [[(row, NOTE) for row in own] + shared for own in self.own]

    @property
    def note_tokens(self) -> list[int]:
        """Tokens to learn, by candidate."""
        rehearsed = sum(len(row.answer) for row in self.rehearsed)
        return [rehearsed + sum(len(row.answer) for row in own) for own in self.own]

    @property
    def anchor_tokens(self) -> int:
        return sum(len(row.answer) for row in self.anchored)


class Deck(Generic[Drawn]):
    """Draws in shuffled order, each once before any comes again."""

    def __init__(self, all_of_it: Sequence[Drawn], rng: random.Random) -> None:
        self.all = list(all_of_it)
        self.rng = rng
        self.left: list[Drawn] = []

    def draw(self, count: int) -> list[Drawn]:
        drawn: list[Drawn] = []
        while len(drawn) < min(count, len(self.all)):
            if not self.left:
                self.left = self.rng.sample(self.all, len(self.all))
            drawn.append(self.left.pop())
        return drawn


class SharedDecks:
    """What all candidates get: each step's draw of rehearsal, and of each group of anchors."""

    def __init__(
        self,
        rehearsal: Sequence[Row],
        anchors: Sequence[tuple[Sequence[Row], int]],
        plan: TrainingPlan,
        rng: random.Random,
    ) -> None:
        self.plan = plan
        self.rehearsal = Deck(rehearsal, rng)
        self.anchors = [(Deck(rows, rng), count) for rows, count in anchors]

    def beside(self, decks: Sequence[Deck[Row]]) -> StepRows:
        """A step's rows: the next shared ones, beside some of each candidate's own notes."""
        rehearsed = self.rehearsal.draw(self.plan.rehearsal_per_step)
        anchored = [row for deck, count in self.anchors for row in deck.draw(count)]
        return StepRows([deck.draw(self.plan.notes_per_step) for deck in decks], rehearsed, anchored)


def schedule(step: int, plan: TrainingPlan) -> float:
    """Linear warm-up, then cosine down to a tenth of the peak."""
    if step < plan.warmup_steps:
        return (step + 1) / (plan.warmup_steps + 1)
    return falling((step - plan.warmup_steps) / max(plan.steps - plan.warmup_steps, 1))
