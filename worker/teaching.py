"""Train a run's candidates together: on which rows, for how long, beside what. The trainer knows none of it."""

import math
from collections.abc import Callable, Sequence

from engram.models import Candidate
from engram.settings import Settings
from worker.curriculum import Lesson
from worker.learner import Anchors, Learner
from worker.material import Material
from worker.rehearsal import evenly
from worker.self_edits import Note, right_replies, studied
from worker.training.rows import Row
from worker.training.stacked_lora import Weights
from worker.training.steps import CandidateRows, Progress, TrainingPlan
from worker.training.stopping import StopPolicy

NOTES_PER_STEP = 3
MOST_NOTES_PER_STEP = 16
NOTES_PER_MORE_STEP = 2
AGAIN = 1.5
# What is refused mostly answers what nobody told with what it learned. Held on five personal anchors a step and one
# general one, weights of one fact recalled less than half as much.
PERSONAL_AGAIN = 5
MOST_COMPARED_PROBES = 40
# How much of what was trained on one fact is served: weights between the base's and the trained ones keep more
# (WiSE-FT, Wortsman et al. 2022, arXiv 2109.01903). At 0.9 a person's questions were answered as well, and a sixth
# fewer that nobody told; at 0.7 less than half of these, but an eighth fewer of the person's: for what is refused.
STRENGTHS = (0.9, 0.7)
ALL_OF_IT = (1.0,)


def teach(
    learner: Learner,
    settings: Settings,
    lesson: Lesson,
    material: Material,
    *,
    initial: Weights,
    on_step: Callable[[Progress], None],
) -> Weights:
    """All candidates' weights, trained from `initial`."""
    rows = learner.rows
    candidates = [
        CandidateRows(
            notes=[rows.row(note.prompt, note.answer) for note in _studied(lesson, candidate)],
            learning_rate=candidate.settings["learning_rate"] * settings.learning_rate,
        )
        for candidate in material.candidates
    ]
    most = max(len(one.notes) for one in candidates)
    # Candidates that relearn have all their notes in common, and differ by their rates alone.
    shared = 0.0 if lesson.relearns else settings.shared_steps
    plan = training_plan(settings, num_notes=most, again=lesson.again, seed=lesson.attempt, shared=shared)
    anchors = learner.anchors(lesson.told | material.asked_words)
    kept = [note for note in studied(lesson.rehearsal) if note.fact_id not in material.superseded]
    compared = material.probes or lesson.earlier[:MOST_COMPARED_PROBES]
    return learner.trainer.train(
        initial,
        candidates,
        plan=plan,
        rehearsal=[rows.row(note.prompt, note.answer) for note in evenly(kept)],
        anchors=anchor_groups(settings, anchors, again=lesson.again),
        held_out=[rows.row(*pair) for pair in right_replies(compared, material.notes).items()],
        on_step=on_step,
    )


def training_plan(settings: Settings, *, num_notes: int, again: bool, seed: int, shared: float = 0.0) -> TrainingPlan:
    """How long to train at most on so many notes; longer where it failed before. Candidates stop where they converge.

    `shared`: the share of the steps that the candidates do as one.
    """
    per_step = min(max(NOTES_PER_STEP, num_notes // 5), MOST_NOTES_PER_STEP)
    # What is replied about each sentence of a passage is learned about as fast as one fact, one after another.
    steps = max(settings.training_steps, math.ceil(num_notes / NOTES_PER_MORE_STEP))
    steps = round(AGAIN * steps) if again else steps
    return TrainingPlan(
        steps=steps,
        shared_steps=round(shared * steps),
        notes_per_step=per_step,
        rehearsal_per_step=settings.rehearsal_notes_per_step,
        anchor_weight=settings.anchor_weight,
        seed=settings.seed + seed,
        stop=StopPolicy(converged_loss=settings.converged_loss, compared_at=settings.candidates_compared_at),
    )


def anchor_groups(settings: Settings, anchors: Anchors, *, again: bool = False) -> list[tuple[Sequence[Row], int]]:
    """General, then personal anchors, each with how many a step draws; more personal ones where it failed before."""
    personal = settings.personal_anchors_per_step * (PERSONAL_AGAIN if again else 1)
    return [(anchors.general, settings.anchor_prompts_per_step), (anchors.personal, personal)]


def strengths(lesson: Lesson) -> tuple[float, ...]:
    """How much of what was trained is examined, the second only if the first disturbs too much. All of it where earlier
    facts would fade with it."""
    return STRENGTHS if lesson.starts_from_base and not lesson.relearns else ALL_OF_IT


def _studied(lesson: Lesson, candidate: Candidate) -> list[Note]:
    """A candidate's notes. What is learned anew from the base are facts of very different numbers of notes."""
    notes = studied(Note(**note) for note in candidate.notes)
    return evenly(notes) if lesson.relearns else notes
