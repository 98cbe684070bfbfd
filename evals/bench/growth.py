"""Time what a run does for one new fact, training and probing, with few and with many facts in the ledger.

Rehearsal and examination draw from the ledger what fits a fixed budget, so the ratio should be
about 1. As in a worker that learned the ledger itself, activations of its notes are kept; a first
run, right after a start, has to compute them, and is reported apart.
"""

from collections.abc import Sequence
from typing import Any

from evals.bench.exercise import Exercise, exercise_of
from evals.bench.figures import Figure
from evals.bench.ledger import studied_facts
from evals.bench.workbench import Workbench
from worker.probing import examine
from worker.self_edits import STRATEGIES
from worker.served import Served
from worker.study import Study
from worker.training.stacked_lora import select
from worker.training.stopping import Stop, finalists

FEW, MANY = 10, 100


def run(bench: Workbench, *, sizes: tuple[int, int] = (FEW, MANY)) -> Figure:
    """Seconds with `sizes[1]` facts over seconds with `sizes[0]`, `bench.repeats` times, a new fact each time."""
    facts = studied_facts()
    ledger, new = facts[: max(sizes)], facts[max(sizes) :]
    first = {size: _learn(bench, _exercise(bench, new[0], ledger[:size])) for size in sizes}
    bench.say(f"growth: first runs took {first[sizes[0]]:.1f} and {first[sizes[1]]:.1f} s")
    seconds: dict[int, list[float]] = {size: [] for size in sizes}
    exercises = {}
    for repeat in range(bench.repeats):
        exercises = {size: _exercise(bench, new[repeat], ledger[:size]) for size in sizes}
        bench.learner.trainer.prepare([row for each in exercises[sizes[0]].candidates for row in each.notes])
        for size in sizes if repeat % 2 == 0 else sizes[::-1]:
            seconds[size].append(_learn(bench, exercises[size]))
            bench.say(f"growth: repeat {repeat + 1} of {bench.repeats}, {size} facts: {seconds[size][-1]:.1f} s")
    return Figure(
        [many / few for few, many in zip(seconds[sizes[0]], seconds[sizes[1]], strict=True)],
        {
            **bench.conditions,
            "facts": list(sizes),
            "seconds": {str(size): taken for size, taken in seconds.items()},
            "first_run_ratio": first[sizes[1]] / first[sizes[0]],
            "last_run": {str(size): _amounts(bench, exercise) for size, exercise in exercises.items()},
        },
    )


def _exercise(bench: Workbench, new: Study, ledger: Sequence[Study]) -> Exercise:
    return exercise_of(bench.learner, bench.settings, new, ledger, strategies=STRATEGIES)


def _learn(bench: Workbench, exercise: Exercise) -> float:
    """Seconds that a run's stages of training and probing take, from an untrained adapter."""
    learner = bench.learner
    live = learner.lora.fresh(seed=bench.settings.seed)
    stops: dict[int, Stop] = {}
    begun = bench.now()
    trained = learner.trainer.train(
        live,
        exercise.candidates,
        plan=exercise.plan,
        rehearsal=exercise.rehearsal,
        anchors=exercise.anchors,
        held_out=exercise.held_out,
        on_step=lambda progress: stops.update(progress.stopped),
    )
    survivors = finalists(len(exercise.candidates), stops)
    candidates = Served(select(trained, survivors), exercise.scope)
    examine(learner, Served(live), candidates, exercise.examination)
    return bench.now() - begun


def _amounts(bench: Workbench, exercise: Exercise) -> dict[str, Any]:
    """What the budgets let through: fewer questions never told are left beside a larger ledger."""
    asked = exercise.examination
    return {
        "steps": exercise.plan.steps,
        "rows_per_step": exercise.rows_per_step,
        "ledger_notes": len(exercise.rehearsal),
        "earlier_probes": min(len(asked.earlier), asked.max_earlier),
        "never_told": min(len(bench.learner.never_told(asked.told)), asked.max_never_told),
    }
