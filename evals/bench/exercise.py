"""Make what a learning run trains on out of studied facts, as `worker.pipeline` does. No training."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from engram.settings import Settings
from engram.similarity import content_words
from worker.learner import Learner
from worker.rehearsal import evenly
from worker.self_edits import STRATEGIES, Note, Strategy, choose_probes, notes_of
from worker.study import Study
from worker.teaching import anchor_groups, training_plan
from worker.training.rows import ChatRows, Row
from worker.training.steps import CandidateRows, Deck, SharedDecks, TrainingPlan

# The pipeline trains the first three; the issue asks for five, so two more of the same kind.
FIVE_STRATEGIES = (
    *STRATEGIES,
    Strategy("everything", ("qa", "rewrite", "implications")),
    Strategy("slow rewrite", ("qa", "rewrite"), learning_rate_factor=0.5),
)
_WINNER = STRATEGIES[1]  # whose notes the ledger's facts are rehearsed with

AnchorGroups = tuple[tuple[Sequence[Row], int], ...]


@dataclass(frozen=True, slots=True)
class Exercise:
    """One new fact to learn beside a ledger of others: the arguments of `Trainer.train`."""

    plan: TrainingPlan
    candidates: tuple[CandidateRows, ...]
    rehearsal: tuple[Row, ...]
    anchors: AnchorGroups

    @property
    def rows_per_step(self) -> list[int]:
        """Rows in a step, by candidate."""
        shared = min(self.plan.rehearsal_per_step, len(self.rehearsal))
        shared += sum(min(count, len(rows)) for rows, count in self.anchors)
        return [min(self.plan.notes_per_step, len(candidate.notes)) + shared for candidate in self.candidates]


@dataclass(frozen=True, slots=True)
class StepRows:
    """What one candidate trains on in one step: notes and rehearsal, then anchors."""

    learned: tuple[Row, ...]
    anchored: tuple[Row, ...]


def exercise_of(
    learner: Learner, settings: Settings, new: Study, ledger: Sequence[Study], *, strategies: Sequence[Strategy]
) -> Exercise:
    """What `Pipeline` would give to the trainer for `new`, where one LoRA holds all of `ledger` (a test compares them).

    By default each fact has a LoRA of its own and nothing is rehearsed; here the trainer's cost with rehearsal counts.
    """
    probes = choose_probes(new)
    held_out = [(fact, choose_probes(fact)) for fact in ledger]
    told = frozenset().union(*(content_words(fact.statement) for fact in (new, *ledger)))
    told |= frozenset().union(*(content_words(probe.question) for probe in probes))
    drafts = [notes_of(new, strategy, probes=probes) for strategy in strategies]
    candidates = tuple(
        CandidateRows(_rows(notes, learner.rows), settings.learning_rate * strategy.learning_rate_factor)
        for strategy, notes in zip(strategies, drafts, strict=True)
    )
    most = max(len(candidate.notes) for candidate in candidates)
    plan = training_plan(settings, num_notes=most, again=False, seed=0, shared=settings.shared_steps)
    rehearsal = [note for fact, own in held_out for note in notes_of(fact, _WINNER, probes=own)]
    return Exercise(
        plan=plan,
        candidates=candidates,
        rehearsal=tuple(_rows(evenly(rehearsal), learner.rows)),
        anchors=tuple(anchor_groups(settings, learner.anchors(told))),
    )


def draw_steps(exercise: Exercise) -> list[list[StepRows]]:
    """The rows that `Trainer.train` draws for candidates apart, [step][candidate] (a test compares them)."""
    plan, rng = exercise.plan, random.Random(exercise.plan.seed)
    decks = [Deck(candidate.notes, rng) for candidate in exercise.candidates]
    shared = SharedDecks(exercise.rehearsal, exercise.anchors, plan, rng)
    drawn = [shared.beside(decks) for _ in range(plan.steps)]
    return [[StepRows((*own, *step.rehearsed), tuple(step.anchored)) for own in step.own] for step in drawn]


def _rows(notes: Sequence[Note], rows: ChatRows) -> list[Row]:
    return [rows.row(note.prompt, note.answer) for note in notes]
