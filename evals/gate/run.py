"""Examine candidates as a learning run does, and count what the gate says of them. Publishes nothing."""

import math
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from engram.artifacts import verify
from engram.errors import AdapterRejected
from engram.gate import GateDecision, decide, is_too_strong
from engram.settings import Settings
from evals.gate import facts, versions
from evals.gate.build import KINDS, Bench, Built, Lesson, Options, Place, build, lessons
from evals.gate.judge import Judge, open_judge
from evals.gate.records import ExaminedLesson, Records
from evals.gate.report import GOOD, Json, Result, report
from evals.gate.verdict import Scores
from worker.opening import open_base
from worker.pipeline import gate_policy
from worker.probing import Examination, Examined, Resumed, examine
from worker.served import Served
from worker.teaching import STRENGTHS
from worker.training.stacked_lora import stack

FILES = "files"
MOST_TRIES = 3  # ordinary candidates tried for each good one that is wanted
_STRATEGIES = 3

OnResults = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Decided:
    """What was found of a candidate at the strength that it was judged at last."""

    strength: float
    examined: Examined
    decision: GateDecision


def open_bench(settings: Settings, options: Options, *, path: Path | None, say: Callable[[str], None]) -> Bench:
    """Everything as the worker opens it (`worker.main.open_worker`), without engines and database."""
    told = facts.load(path)
    base = open_base(settings)
    base.learner.warm_up(lambda done, total: say(f"the base answered {done} of {total} anchors and controls"))
    return Bench(base.learner, base.author(), settings, told, options, say)


def run(bench: Bench, records: Records, on_results: OnResults = lambda bad, good: None) -> Json:
    """Build and examine until enough bad and good ones were found; `on_results` hears how many so far.

    Goes on after the lessons that are on record.
    """
    options = bench.options
    each = math.ceil(options.num_bad / len(KINDS))
    most = max(2 * each, math.ceil(MOST_TRIES * options.num_good / _STRATEGIES))
    done = records.all()
    on_results(*_count(done))
    if not _is_enough(done, options, each=each):
        judge = open_judge(bench.learner, seed=options.seed)
        for lesson in lessons(bench, most=most, start=done[-1].following if done else Place()):
            number, turn = divmod(lesson.number, 2)
            kinds = KINDS[turn::2] if number < each else ()
            found = examined(bench, judge, lesson, build(bench, lesson, kinds, number=number))
            done.append(ExaminedLesson(found, _taught(lesson), lesson.following))
            records.add(done[-1])
            bench.say(_line(lesson, found))
            on_results(*_count(done))
            if _is_enough(done, options, each=each):
                break
    return {**report(_results(done), kinds=KINDS), "lessons": [one.taught for one in done]}


def _results(done: Sequence[ExaminedLesson]) -> list[Result]:
    return [result for one in done for result in one.results]


def _count(done: Sequence[ExaminedLesson]) -> tuple[int, int]:
    """How many bad and good candidates there are so far."""
    results = _results(done)
    return sum(one.is_bad for one in results), sum(one.row == GOOD for one in results)


def _is_enough(done: Sequence[ExaminedLesson], options: Options, *, each: int) -> bool:
    num_bad, num_good = _count(done)
    return num_bad >= each * len(KINDS) and num_good >= options.num_good


def examined(bench: Bench, judge: Judge, lesson: Lesson, built: Sequence[Built]) -> list[Result]:
    """What examination, gate and file check say of the candidates of one lesson."""
    before = versions.live(bench.learner, lesson.situation, lesson.ledger)
    decided: dict[int, Decided] = {}
    scores: dict[int, Scores] = {}
    for resumes in (False, True):
        group = [one for one in built if one.spoil_files is None and one.resumes == resumes]
        if not group:
            continue
        decided |= _decided(bench, lesson, before, group)
        after = _served(bench, lesson, group, [decided[id(one)].strength for one in group])
        judged = judge.judge(lesson.situation, before, after)
        scores |= {id(one): each for one, each in zip(group, judged, strict=True)}
    return [_result(bench, lesson, one, decided.get(id(one)), scores.get(id(one))) for one in built]


def _decided(bench: Bench, lesson: Lesson, before: Served, group: Sequence[Built]) -> dict[int, Decided]:
    """What is found of each, by id, as if it were its run's only one. They are served in the same way."""
    examination = _examination(bench, lesson, resumes=group[0].resumes)
    policy, pending, decided = gate_policy(bench.settings), list(group), dict[int, Decided]()
    for turn in range(len(STRENGTHS)):
        pending = [one for one in pending if turn < len(one.strengths)]
        if not pending:
            break
        strengths = [one.strengths[turn] for one in pending]
        reports = examine(bench.learner, before, _served(bench, lesson, pending, strengths), examination)
        for one, strength, asked in zip(pending, strengths, reports, strict=True):
            decided[id(one)] = Decided(strength, asked, decide(asked.report, policy=policy))
        pending = [one for one in pending if is_too_strong(decided[id(one)].decision)]
    return decided


def _served(bench: Bench, lesson: Lesson, group: Sequence[Built], strengths: Sequence[float]) -> Served:
    """Candidates that are served in the same way, each at its strength, as the version that they would be."""
    learner = bench.learner
    pairs = zip(group, strengths, strict=True)
    weights = stack(*(learner.lora.weakened(one.weights, strength) for one, strength in pairs))
    return versions.candidates(learner, lesson.situation, lesson.ledger, weights, resumes=group[0].resumes)


def _result(bench: Bench, lesson: Lesson, one: Built, found: Decided | None, scores: Scores | None) -> Result:
    """A candidate is let in if the gate admits it and its files are whole, as publishing asks."""
    strength = found.strength if found else one.strengths[0]
    variant, damage = _check_files(bench, one, strength)
    failed, checks = ([FILES], [damage]) if damage else ([], [])
    if found:
        failed += [reason.check for reason in found.decision.reasons if not reason.passed]
        checks += [reason.text for reason in found.decision.reasons]
    return Result(
        kind=one.kind,
        variant=variant,
        lesson=lesson.number,
        statement=lesson.situation.new.fact.statement,
        admitted=not failed,
        strength=strength,
        failed=tuple(failed),
        checks=tuple(checks),
        scores=scores,
        measured=_measured(found.examined) if found else {},
    )


def _measured(one: Examined) -> Json:
    """The gate's own numbers, and every answer behind them as [kind, question, answer, right]."""
    asked = [[item.kind, item.question, item.answer, item.right] for item in one.asked]
    kl = one.report.kl if math.isfinite(one.report.kl) else None  # JSON has no NaN
    return {**one.report.to_json(), "kl": kl, "asked": asked}


def _check_files(bench: Bench, one: Built, strength: float) -> tuple[str, str]:
    """Save the candidate, spoil its files if its kind wants that, and verify them: (variant, what is wrong)."""
    with tempfile.TemporaryDirectory(prefix="engram-gate-") as name:
        folder = Path(name) / "adapter"
        bench.learner.lora.save(bench.learner.lora.weakened(one.weights, strength), 0, folder)
        variant = one.spoil(folder, seed=bench.options.seed)
        try:
            verify(folder, shape=bench.learner.shape)
        except AdapterRejected as error:
            return variant, error.message
    return variant, ""


def _examination(bench: Bench, lesson: Lesson, *, resumes: bool) -> Examination:
    """As `worker.pipeline` makes it."""
    situation, ledger = lesson.situation, lesson.ledger
    earlier = situation.resumed
    held = (*situation.new.probes, *(earlier.probes if resumes else ()))
    return Examination(
        new=situation.new.probes,
        earlier=[probe for one in situation.earlier for probe in one.probes],
        told=situation.told,
        known_answers=frozenset(answer for probe in held for answer in probe.answers),
        resumed=Resumed.of(ledger.shards[ledger.resumed], earlier.probes, earlier.notes) if resumes else None,
        seed=bench.settings.seed,
    )


def _taught(lesson: Lesson) -> Json:
    """What a lesson was about, for a reader of the report."""
    situation = lesson.situation
    return {
        "lesson": lesson.number,
        "new": situation.new.fact.statement,
        "earlier": [one.fact.statement for one in situation.earlier],
        "other": situation.other.fact.statement,
        "notes": {draft.strategy: len(draft.notes) for draft in situation.new.drafts},
        "gate_probes": [probe.question for probe in situation.new.probes],
        "held_out": [probe.question for probe in situation.new.kept_back],
    }


def _line(lesson: Lesson, found: Sequence[Result]) -> str:
    admitted = Counter((one.is_bad, one.admitted) for one in found if one.is_bad or one.row == GOOD)
    return (
        f"lesson {lesson.number}: {admitted[True, True]} of {admitted[True, True] + admitted[True, False]} bad and "
        f"{admitted[False, True]} of {admitted[False, True] + admitted[False, False]} good let in: "
        f"{lesson.situation.new.fact.statement}"
    )
