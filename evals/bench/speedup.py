"""Time five candidates of one fact: our trainer, all in one batch, beside PEFT and the Hugging Face Trainer in turn.

Both train on the same rows from the same weights, in this process, in turns, for a few steps: a step
costs the same however many come before it. PEFT is run in the way that is fastest here. What is done
once a training (our activations to keep, building a Trainer) is no part of the ratio; it is in the details.
"""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from evals.bench.exercise import FIVE_STRATEGIES, Exercise, StepRows, draw_steps, exercise_of
from evals.bench.figures import Figure, Json
from evals.bench.ledger import studied_facts
from evals.bench.plain_peft import Way, train_plainly, ways_for
from evals.bench.trail import Trail, largest_difference
from evals.bench.workbench import Workbench
from worker.training.stacked_lora import Weights
from worker.training.steps import Progress

LEDGER_FACTS = 10


@dataclass(frozen=True)
class _PlainSide:
    """Trains the candidates one after another on `steps`, [step][candidate], from the adapter in a folder."""

    bench: Workbench
    exercise: Exercise
    steps: list[list[StepRows]]
    model: Any
    adapter: Path

    def train(self, candidate: int, way: Way) -> Trail:
        return train_plainly(
            self.model,
            self.adapter,
            [step[candidate] for step in self.steps],
            way=way,
            prefix=self.bench.learner.rows.prefix,
            plan=self.exercise.plan,
            learning_rate=self.exercise.candidates[candidate].learning_rate,
            now=self.bench.now,
        )

    def train_all(self, way: Way) -> list[Trail]:
        trails = []
        for candidate in range(len(self.exercise.candidates)):
            trails.append(self.train(candidate, way))
            self.bench.say(f"  PEFT, candidate {candidate + 1}: {trails[-1].seconds_per_step:.2f} s a step")
        return trails

    def try_ways(self) -> dict[Way, float]:
        """Seconds a step of the first candidate in every way that PEFT can be run here."""
        ways, tried = ways_for(self.model.dtype), {}
        self.train(0, ways[0])  # not counted: the first to meet a shape waits for its kernels to be made
        for way in ways:
            tried[way] = self.train(0, way).seconds_per_step
            self.bench.say(f"  PEFT, {way}: {tried[way]:.2f} s a step")
        return tried


def run(bench: Workbench) -> Figure:
    """Seconds a step of five plain trainings, summed, over seconds a step of ours, `bench.repeats` times."""
    exercise = five_candidates(bench)
    ours: list[Trail] = []
    theirs: list[list[Trail]] = []
    with tempfile.TemporaryDirectory(prefix="engram-bench-") as name:
        initial = _initial(bench, Path(name))
        plain = _PlainSide(bench, exercise, draw_steps(exercise), bench.load_plain(), Path(name))
        ways = plain.try_ways()
        fastest = min(ways, key=lambda way: ways[way])

        def train_ours() -> None:
            ours.append(train_together(bench, exercise, initial))
            bench.say(f"  ours: {ours[-1].seconds_per_step:.2f} s a step of all candidates")

        def train_theirs() -> None:
            theirs.append(plain.train_all(fastest))

        for repeat in range(bench.repeats):
            bench.say(f"speedup: repeat {repeat + 1} of {bench.repeats}")
            for train in (train_ours, train_theirs) if repeat % 2 == 0 else (train_theirs, train_ours):
                train()
    details = {"peft_way": str(fastest), "peft_ways_s_per_step": {str(way): taken for way, taken in ways.items()}}
    return _figure(bench, exercise, ours, theirs, details)


def five_candidates(bench: Workbench) -> Exercise:
    """One fact beside a ledger of ten, with the pipeline's settings but for candidates (five) and steps (few)."""
    new, *ledger = studied_facts()[: 1 + LEDGER_FACTS]
    exercise = exercise_of(bench.learner, bench.settings, new, ledger, strategies=FIVE_STRATEGIES)
    # Apart and to the end, as PEFT trains them: what sharing steps or stopping some saves is no part of the ratio.
    return replace(exercise, plan=replace(exercise.plan, steps=1 + bench.timed_steps, shared_steps=0, stop=None))


def train_together(bench: Workbench, exercise: Exercise, initial: Weights) -> Trail:
    """Train all candidates with Engram's trainer."""
    trail = Trail(begun_s=bench.now())

    def on_step(progress: Progress) -> None:
        trail.ends_s.append(bench.now())
        trail.note_loss.append(progress.note_loss)
        trail.anchor_kl.append(progress.anchor_kl)

    bench.learner.trainer.train(
        initial,
        exercise.candidates,
        plan=exercise.plan,
        rehearsal=exercise.rehearsal,
        anchors=exercise.anchors,
        on_step=on_step,
    )
    return trail


def _initial(bench: Workbench, folder: Path) -> Weights:
    """An untrained adapter, written to `folder` for PEFT and read again, so that both begin from the same numbers."""
    lora = bench.learner.lora
    lora.save(lora.fresh(seed=bench.settings.seed), 0, folder)
    return lora.load(folder)


def _figure(
    bench: Workbench, exercise: Exercise, ours: list[Trail], theirs: list[list[Trail]], details: Json
) -> Figure:
    ours_s = [trail.seconds_per_step for trail in ours]
    theirs_s = [sum(trail.seconds_per_step for trail in trails) for trails in theirs]
    return Figure(
        [plain / own for plain, own in zip(theirs_s, ours_s, strict=True)],
        {
            **bench.conditions,
            **details,
            "rows_per_step": exercise.rows_per_step,
            "engram_s_per_step": ours_s,
            "peft_s_per_step": theirs_s,
            "engram_s_to_first_step": [trail.seconds_to_first_step for trail in ours],
            "peft_s_to_first_step": [sum(trail.seconds_to_first_step for trail in trails) for trails in theirs],
            "largest_note_loss_difference_nats": [
                largest_difference(own, plain) for own, plain in zip(ours, theirs, strict=True)
            ],
        },
    )
