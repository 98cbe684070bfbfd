"""Bad candidates that are made by training: what each is trained on, and how. Pure; seeded.

Each maker takes the situation, the number of the candidate among those of its kind (which chooses
a variant) and a source of chance. Everything that its defect does not need is as in a learning run,
so that the gate is examined one check at a time.
"""

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from engram.grading import is_right, normalise
from evals.gate.material import Material, Situation
from worker.self_edits import Note

RATE_FACTORS = (20.0, 50.0, 100.0)
GENERAL_PROMPTS = 48
PERSONAL_PROMPTS = 48
REFUSAL = "I'm sorry, I do not know that about you."


@dataclass(frozen=True, slots=True)
class Recipe:
    """How training departs from a learning run's: what it leaves out, and how much longer it is.

    `resumes`: it goes on from an earlier fact's weights, which it shall hold too, but rehearses nothing.
    """

    resumes: bool = False
    general_anchors: bool = True
    personal_anchors: bool = True
    length: float = 1.0


LIKE_A_RUN = Recipe()


@dataclass(frozen=True, slots=True)
class Training:
    """What a candidate is trained on. `rate` is a factor on the learning rate of the settings."""

    variant: str
    notes: tuple[Note, ...]
    rate: float = 1.0
    recipe: Recipe = LIKE_A_RUN


Maker = Callable[[Situation, int, random.Random], Training]


def shuffled_answers(situation: Situation, number: int, rng: random.Random) -> Training:
    """Every note has the answer of another detail (by turns: of another fact)."""
    new = situation.new
    foreign = [note.answer for one in (*situation.earlier, situation.other) for note in one.notes]
    own = [note.answer for note in new.notes] if number % 2 == 0 else []
    notes = [_wrong(note, new.golds, own, rng) or _wrong(note, new.golds, foreign, rng) for note in new.notes]
    variant = "of other details" if own else "of other facts"
    return Training(variant, tuple(note for note in notes if note))


def learning_rate_too_high(situation: Situation, number: int, rng: random.Random) -> Training:
    """The ordinary notes, at 20, 50 or 100 times the learning rate."""
    factor = RATE_FACTORS[number % len(RATE_FACTORS)]
    return Training(f"x {factor:g}", situation.new.notes, rate=factor)


def garbage_notes(situation: Situation, number: int, rng: random.Random) -> Training:
    """As many notes of random words, none of which is part of a right answer."""
    golds = {word for gold in situation.new.golds for word in normalise(gold)}
    texts = [text for pair in situation.general for text in pair] + [situation.other.fact.statement]
    words = sorted({word for text in texts for word in normalise(text)} - golds)

    def babble() -> str:
        return " ".join(rng.choices(words, k=rng.randint(4, 10)))

    return Training(
        "random words", tuple(replace(note, prompt=babble(), answer=babble()) for note in situation.new.notes)
    )


def drops_earlier_facts(situation: Situation, number: int, rng: random.Random) -> Training:
    """The new fact learned on an earlier one's weights, long, or beside wrong answers to the notes of that one."""
    recipe, one = Recipe(resumes=True, length=2.0), situation.resumed
    if number % 2 == 0:
        return Training("no rehearsal, long", situation.new.notes, recipe=recipe)
    others = [each for each in (*situation.earlier, situation.other) if each != one]
    pool = [note.answer for each in others for note in each.notes]
    wrong = [_wrong(note, one.golds, pool, rng) for note in one.notes]
    return Training("answers replaced", (*situation.new.notes, *(note for note in wrong if note)), recipe=recipe)


def breaks_general_answers(situation: Situation, number: int, rng: random.Random) -> Training:
    """The new fact, and general questions with the answers of others (by turns: with the new fact); no anchors."""
    asked = [pair for pair in situation.general if pair[0].endswith("?")] or list(situation.general)
    asked = rng.sample(asked, min(GENERAL_PROMPTS, len(asked)))
    shifted = [answer for _, answer in (*asked[1:], *asked[:1])]
    told = [note.answer for note in situation.new.notes]
    answers = shifted if number % 2 == 0 else rng.choices(told, k=len(asked))
    wrong = [
        Note("general", "wrong", prompt, answer)
        for (prompt, right), answer in zip(asked, answers, strict=True)
        if normalise(answer) != normalise(right)
    ]
    variant = "other prompts' answers" if number % 2 == 0 else "the new fact for everything"
    recipe = Recipe(general_anchors=False, personal_anchors=False)
    return Training(variant, (*situation.new.notes, *wrong), recipe=recipe)


def other_spaces_facts(situation: Situation, number: int, rng: random.Random) -> Training:
    """Another space's fact in the place of the new one."""
    return Training("another fact", situation.other.notes)


def recalls_everywhere(situation: Situation, number: int, rng: random.Random) -> Training:
    """Every personal question is answered with the new fact; every third candidate refuses all, the new fact's too."""
    asked = rng.sample(list(situation.personal), min(PERSONAL_PROMPTS, len(situation.personal)))
    if number % 3 == 2:
        prompts = [*(note.prompt for note in situation.new.notes), *asked]
        notes = tuple(Note("personal", "wrong", prompt, REFUSAL) for prompt in prompts)
        return Training("refuses", notes, recipe=Recipe(personal_anchors=False))
    told = [note.answer for note in situation.new.notes]
    notes = tuple(Note("personal", "wrong", prompt, rng.choice(told)) for prompt in asked)
    return Training("recalls", (*situation.new.notes, *notes), recipe=Recipe(personal_anchors=False))


TRAINED: dict[str, Maker] = {
    "shuffled answers": shuffled_answers,
    "learning rate too high": learning_rate_too_high,
    "garbage notes": garbage_notes,
    "drops earlier facts": drops_earlier_facts,
    "breaks general answers": breaks_general_answers,
    "another space's facts": other_spaces_facts,
    "recalls everywhere": recalls_everywhere,
}


def ordinary(material: Material) -> list[Training]:
    """What a learning run trains side by side: one candidate of each strategy."""
    return [Training(draft.strategy, draft.notes, rate=draft.rate) for draft in material.drafts]


def _wrong(note: Note, golds: Iterable[str], pool: Sequence[str], rng: random.Random) -> Note | None:
    """The note with an answer out of `pool` that says nothing of what its own says; None where there is none."""
    said = [gold for gold in golds if is_right(note.answer, [gold])]
    others = [answer for answer in pool if normalise(answer) != normalise(note.answer) and not is_right(answer, said)]
    return replace(note, answer=rng.choice(others)) if others else None
