"""Make a ledger of weights that know some earlier facts, and candidates, bad and good. In-process: no engine.

As in a learning run, what differs in rows and learning rate only is trained together, and every fact
has weights of its own.
"""

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from engram.grading import is_right
from engram.settings import Settings
from engram.similarity import content_words
from evals.gate import bad, broken
from evals.gate.bad import Recipe, Training
from evals.gate.facts import Cast, Fact, cast
from evals.gate.material import Material, Situation, by_author
from evals.gate.verdict import ORDINARY
from evals.gate.versions import Ledger
from worker.author.client import Author
from worker.learner import Anchors, Learner
from worker.outcomes import LEARNED_SHARE
from worker.self_edits import Note
from worker.teaching import ALL_OF_IT, STRENGTHS, anchor_groups, training_plan
from worker.training.anchors import is_told
from worker.training.rows import Row
from worker.training.stacked_lora import Weights, select
from worker.training.steps import CandidateRows, TrainingPlan
from worker.training.stopping import StopPolicy

KINDS = (*bad.TRAINED, *broken.WEIGHTS_SPOILED, *broken.FILES_SPOILED)


@dataclass(frozen=True, slots=True)
class Options:
    """`learned_share`: share of its probes that the live version must answer for an earlier fact to be its own."""

    num_bad: int = 60
    num_good: int = 30
    seed: int = 0
    lessons_per_ledger: int = 3
    least_earlier: int = 3
    most_earlier: int = 5
    learned_share: float = LEARNED_SHARE
    least_learned: int = 2


@dataclass(frozen=True)
class Bench:
    """Everything that candidates are made with."""

    learner: Learner
    author: Author
    settings: Settings
    facts: Sequence[Fact]
    options: Options = field(default_factory=Options)
    say: Callable[[str], None] = lambda line: None

    @cached_property
    def general(self) -> tuple[tuple[str, str], ...]:
        """General anchor prompts with the base's answers."""
        prompts = self.learner.prompts
        general = [prompt for prompt in prompts.train if prompt not in prompts.personal]
        return tuple((prompt, self.learner.base_answer(prompt)) for prompt in general)


@dataclass(frozen=True, slots=True)
class Place:
    """Where lessons go on: at which group of facts, with which new fact of it, and how many were made before."""

    group: int = 0
    fact: int = 0
    made: int = 0


@dataclass(frozen=True)
class Lesson:
    """One new fact to learn beside a ledger; `following` is the place after it."""

    number: int
    situation: Situation
    ledger: Ledger
    following: Place


@dataclass(frozen=True)
class Built:
    """One candidate. `weights` [1, ...]; `spoil_files`, if any, is done to its folder after it was saved.

    `strengths`: how much of the weights is examined, each but the first only if the one before disturbs too much.
    `resumes`: it takes the place of the earlier fact's shard that it went on from.
    """

    kind: str
    variant: str
    weights: Weights
    strengths: tuple[float, ...] = STRENGTHS
    resumes: bool = False
    spoil_files: broken.FileMaker | None = None
    number: int = 0

    def spoil(self, folder: Path, *, seed: int) -> str:
        """Damage the saved folder as the kind wants it; returns the variant."""
        if self.spoil_files is None:
            return self.variant
        return self.spoil_files(folder, self.number, random.Random(f"{seed} {self.kind} {self.number}"))


def lessons(bench: Bench, *, most: int, start: Place = Place()) -> Iterator[Lesson]:
    """At most so many lessons; facts that cannot be taught or judged are passed over, as a run would reject them.

    From `start` the same lessons come as if those before it had been asked for.
    """
    made, first = start.made, start.fact
    for group in range(start.group, 2 * most if made < most else 0):
        for place, situation, ledger in _of_group(bench, group, first=first):
            made += 1
            yield Lesson(made - 1, situation, ledger, replace(place, made=made))
            if made == most:
                return
        first = 0


def _of_group(bench: Bench, group: int, *, first: int) -> Iterator[tuple[Place, Situation, Ledger]]:
    """The lessons on one ledger from new fact number `first` on, each with the place after it."""
    chosen = _cast(bench, group)
    if first == len(chosen.new):  # nothing is left of it: its ledger need not be trained again
        return
    ledger = make_ledger(bench, chosen.earlier, group=group)
    if len(ledger.earlier) < bench.options.least_learned:
        return
    *written, other = by_author([*chosen.new, chosen.other], bench.author, seed=_seed(bench, group))
    for number, new in enumerate(written[first:], start=first):
        if not (new.is_usable and other.notes) or _replaces(new, ledger.earlier, bench.learner):
            bench.say(f"passed over: {new.fact.statement}")
            continue
        yield Place(group, number + 1), _situation(bench, new, ledger, other), ledger


def make_ledger(bench: Bench, facts: Sequence[Fact], *, group: int) -> Ledger:
    """Train each earlier fact from an untrained adapter, side by side; those that are not learned are left out."""
    learner, settings = bench.learner, bench.settings
    usable = [one for one in by_author(facts, bench.author, seed=_seed(bench, group)) if one.is_usable]
    if not usable:
        return Ledger((), ())
    told = frozenset().union(*(content_words(one.fact.statement) for one in usable))
    trained = learner.trainer.train(
        learner.lora.fresh(seed=settings.seed),
        [CandidateRows(_rows(learner, one.notes), settings.learning_rate) for one in usable],
        plan=_plan(bench, usable, seed=group),
        anchors=_anchors(bench, told, usable, bad.LIKE_A_RUN),
    )
    trained = learner.lora.weakened(trained, STRENGTHS[0])
    found = [(one, select(trained, [index])) for index, one in enumerate(usable)]
    known = [(one, weights) for one, weights in found if _knows(bench, weights, one)]
    bench.say(f"live version {group}: {len(known)} of {len(facts)} earlier facts known")
    return Ledger(tuple(one for one, _ in known), tuple(weights for _, weights in known))


def build(bench: Bench, lesson: Lesson, kinds: Sequence[str], *, number: int) -> list[Built]:
    """The candidates of a learning run of this lesson, and one of each bad kind, number `number` of its kind."""
    rng = random.Random(f"{bench.options.seed} lesson {lesson.number}")
    situation = lesson.situation
    wanted = [(ORDINARY, one) for one in bad.ordinary(situation.new)]
    wanted += [(kind, bad.TRAINED[kind](situation, number, rng)) for kind in bad.TRAINED if kind in kinds]
    built = []
    for recipe in dict.fromkeys(one.recipe for _, one in wanted):
        together = [(kind, one) for kind, one in wanted if one.recipe == recipe]
        trained = train(bench, lesson, [one for _, one in together], recipe)
        strengths = ALL_OF_IT if recipe.resumes else STRENGTHS
        built += [
            Built(kind, one.variant, select(trained, [i]), strengths, recipe.resumes)
            for i, (kind, one) in enumerate(together)
        ]
    fresh, taught = bench.learner.lora.fresh(seed=bench.settings.seed), built[0].weights
    for kind in (kind for kind in broken.WEIGHTS_SPOILED if kind in kinds):
        spoiled = broken.WEIGHTS_SPOILED[kind](lesson.ledger.shards[-1], taught, fresh, number, rng)
        built.append(Built(kind, spoiled.variant, spoiled.weights, ALL_OF_IT))
    files = [kind for kind in broken.FILES_SPOILED if kind in kinds]
    return built + [Built(kind, "", taught, spoil_files=broken.FILES_SPOILED[kind], number=number) for kind in files]


def train(bench: Bench, lesson: Lesson, candidates: Sequence[Training], recipe: Recipe) -> Weights:
    """Train candidates of one recipe together: stacked, [C, ...]. They end where they have converged."""
    learner, settings, situation = bench.learner, bench.settings, lesson.situation
    plan = _plan(bench, candidates, seed=lesson.number)
    ledger = lesson.ledger
    return learner.trainer.train(
        ledger.shards[ledger.resumed] if recipe.resumes else learner.lora.fresh(seed=settings.seed),
        [CandidateRows(_rows(learner, one.notes), one.rate * settings.learning_rate) for one in candidates],
        plan=replace(plan, steps=math.ceil(recipe.length * plan.steps)),
        anchors=_anchors(bench, situation.told, (situation.new, *situation.earlier), recipe),
    )


def _plan(bench: Bench, taught: Sequence[Material | Training], *, seed: int) -> TrainingPlan:
    """As long as a learning run trains. None of the candidates is stopped for another: all are to be examined."""
    most = max(len(one.notes) for one in taught)
    plan = training_plan(bench.settings, num_notes=most, again=False, seed=_seed(bench, seed))
    return replace(plan, stop=StopPolicy(converged_loss=bench.settings.converged_loss, compared_at=1.0))


def _rows(learner: Learner, notes: Sequence[Note]) -> list[Row]:
    return [learner.rows.row(note.prompt, note.answer) for note in notes]


def _cast(bench: Bench, group: int) -> Cast:
    options = bench.options
    sizes = options.most_earlier - options.least_earlier + 1
    return cast(
        bench.facts,
        group=group,
        num_earlier=options.least_earlier + group % sizes,
        num_new=options.lessons_per_ledger,
        seed=options.seed,
    )


def _situation(bench: Bench, new: Material, ledger: Ledger, other: Material) -> Situation:
    situation = Situation(new, ledger.earlier, other, ledger.earlier[ledger.resumed], bench.general, ())
    prompts = bench.learner.prompts
    asked = {question for one in (new, *ledger.earlier) for question in one.fact.questions}
    personal = [p for p in prompts.train if p in prompts.personal and p not in asked]
    return replace(situation, personal=tuple(p for p in personal if not is_told(p, situation.told)))


def _anchors(
    bench: Bench, told: frozenset[str], taught: Sequence[Material], recipe: Recipe
) -> list[tuple[Sequence[Row], int]]:
    """The anchors of a learning run that the recipe leaves in."""
    learner = bench.learner
    anchors = learner.anchors(told)
    # Some of the questions that anchor are a person's about these very facts: they are taught here.
    questions = {learner.rows.prompt(question) for one in taught for question in one.fact.questions}
    untaught = Anchors(anchors.general, [row for row in anchors.personal if row.prompt not in questions])
    general, personal = anchor_groups(bench.settings, untaught)
    return [general] * recipe.general_anchors + [personal] * recipe.personal_anchors


def _knows(bench: Bench, live: Weights, material: Material) -> bool:
    answers = bench.learner.answer([probe.question for probe in material.probes], live)[0]
    right = sum(is_right(answer, probe.answers) for answer, probe in zip(answers, material.probes, strict=True))
    return right >= bench.options.learned_share * len(material.probes)


def _replaces(new: Material, earlier: Sequence[Material], learner: Learner) -> bool:
    """Whether the new fact contradicts an earlier one: a run would drop that one, which is not what is measured."""
    return bool(learner.superseded_by(new.fact.statement, {one.fact.fact_id: one.fact.statement for one in earlier}))


def _seed(bench: Bench, number: int) -> int:
    return 1000 * bench.options.seed + number
