"""Make self-edits of what was written about facts: the probes that are held out, and each strategy's study notes.

Pure: no I/O.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

from engram.grading import is_right, normalise
from engram.similarity import content_words, is_near_copy
from worker.author.tasks import Question
from worker.sentences import parts
from worker.study import Study, in_turn

_MAX_PROBES = 4
_FEWEST_LEFT = 3  # questions about a single detail, beside its two probes
_MOST_QUESTIONS = 18
_FEWEST_ASKED = 12  # with one reply


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to study: a prompt, and the answer to learn. A wording is not studied; it is what may be asked."""

    fact_id: str
    family: str
    prompt: str
    answer: str


WORDING = "wording"
QUESTIONS = ("qa", WORDING)  # families of what the author asked


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A probe question of a fact and the answers that are right."""

    fact_id: str
    kind: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A kind of self-edit: which families of notes, and how fast they are trained."""

    name: str
    families: tuple[str, ...]
    learning_rate_factor: float = 1.0


STRATEGIES = (
    Strategy("self-qa", ("qa", "cloze")),
    Strategy("rewrite", ("qa", "cloze", "rewrite")),
    Strategy("implications", ("qa", "cloze", "implications"), learning_rate_factor=0.75),
)


def choose_probes(written: Study, *, given: Sequence[HeldOut] = (), replaced: Sequence[str] = ()) -> list[HeldOut]:
    """The questions to hold out: those given with the fact, else one of each group that has several, of a single one
    two where it has many.

    The first question of a group is worth most as a note: it is the one that the author finds likeliest. One probe
    alone, if it is the author's nonsense, or asks for what another fact answers too, would cost the fact its place.
    What the statements that it `replaced` say too is asked only where there is nothing else: the live version answers
    that already.
    """
    if given:
        return list(given)
    anew = [[each for each in group if not _say(replaced, each)] for group in written.questions]
    several = _with_several(anew) or _with_several(written.questions)
    spread = several[:: max(1, len(several) // _MAX_PROBES)][:_MAX_PROBES]  # over all parts of a passage
    chosen = [_faithful(group, written.statement) for group in spread]
    if len(chosen) == 1:
        chosen += _second(spread[0], chosen[0], written.statement)
    return [HeldOut(written.fact_id, "generalization", probe.question, (probe.answer,)) for probe in chosen]


def notes_of(written: Study, strategy: Strategy, *, probes: Iterable[HeldOut]) -> list[Note]:
    """The notes of one strategy; none asks what a probe asks in nearly the same words.

    Of many questions those are taken that were written first, of each detail as many: warmer draws repeat or stray,
    and every note costs training steps.
    """
    held_out = [probe.question for probe in probes]
    apart = [[each for each in group if not _near_any(each.question, held_out)] for group in written.questions]
    most = _MOST_QUESTIONS * len(parts(written.statement))
    asked = [Note(written.fact_id, "qa", each.question, each.reply) for each in islice(in_turn(apart), most)]
    notes: list[Note] = []
    if "cloze" in strategy.families:
        notes += [Note(written.fact_id, "cloze", item.question, item.reply) for item in written.clozes]
    notes += _more_asked(written, [*asked, *notes])
    if "rewrite" in strategy.families:
        topics = [group[0].answer for group in written.questions] or ["that"]
        notes += [
            Note(written.fact_id, "rewrite", f"Tell me about {topics[index % len(topics)]}.", line)
            for index, line in enumerate(written.rewrites)
        ]
    if "implications" in strategy.families:
        notes += [Note(written.fact_id, "implications", item.question, item.reply) for item in written.implications]
    unique: dict[tuple[tuple[str, ...], ...], Note] = {}
    for note in [*asked, *(note for note in notes if not _near_any(note.prompt, held_out))]:
        unique.setdefault((tuple(normalise(note.prompt)), tuple(normalise(note.answer))), note)
    return list(unique.values())


def _more_asked(written: Study, notes: Sequence[Note]) -> Iterator[Note]:
    """Questions that nobody answered again, where few others are replied to in the same words. A sentence said back is
    true, whatever asks for it; with two questions about it, it is said to no third one."""
    asked = Counter(note.answer for note in notes if note.family == "qa")
    replies = {note.answer for note in notes}
    for each in written.wordings:
        if each.reply in replies and asked[each.reply] < _FEWEST_ASKED:
            asked[each.reply] += 1
            yield Note(written.fact_id, "qa", each.question, each.reply)


def wordings_of(written: Study, notes: Iterable[Note], *, probes: Iterable[HeldOut]) -> list[Note]:
    """What else was asked about a fact than its notes do, no near copy of a probe: by it the scope knows the fact.

    How many questions a fact has decides how much of what is asked finds it; to train on all would take longer.
    """
    known, held_out = {note.prompt for note in notes}, [probe.question for probe in probes]
    asked = [*in_turn(written.questions), *written.wordings]
    return [
        Note(written.fact_id, WORDING, each.question, each.reply)
        for each in asked
        if each.question not in known and not _near_any(each.question, held_out)
    ]


def studied(notes: Iterable[Note]) -> list[Note]:
    """Those that are trained on."""
    return [note for note in notes if note.family != WORDING]


def right_replies(probes: Iterable[HeldOut], notes: Sequence[Note]) -> dict[str, str]:
    """The reply to each probe's question whose likelihood is measured: what the fact's notes reply that says the right
    answer, questions before all else; without one, the answer itself."""
    ordered = sorted(notes, key=lambda note: (note.family != "qa", len(note.answer)))

    def reply(probe: HeldOut) -> str:
        said = (n.answer for n in ordered if n.fact_id == probe.fact_id and is_right(n.answer, probe.answers))
        return next(said, probe.answers[0])

    return {probe.question: reply(probe) for probe in probes}


def _say(statements: Iterable[str], question: Question) -> bool:
    return any(is_right(statement, [question.answer]) for statement in statements)


def _with_several(groups: Iterable[Sequence[Question]]) -> list[Sequence[Question]]:
    return [group for group in groups if len(group) >= 2]


def _faithful(group: Sequence[Question], statement: str) -> Question:
    """The question but the first, and no near copy of it, that asks most in the statement's words: one with many words
    of its own easily asks something else. Of equal ones the likeliest: later draws are warmer."""
    first, *others = group
    apart = [other for other in others if not is_near_copy(other.question, first.question)]
    told = content_words(statement)

    def share_told(question: Question) -> float:
        asked = content_words(question.question)
        return len(asked & told) / max(len(asked), 1)

    return max(apart or others, key=share_told)


def _second(group: Sequence[Question], probe: Question, statement: str) -> list[Question]:
    """A further probe of a group, if enough questions are left to learn from."""
    rest = _apart(group, probe)
    if len(rest) < 2:
        return []
    second = _faithful(rest, statement)
    return [second] if len(_apart(rest, second)) >= _FEWEST_LEFT else []


def _apart(group: Sequence[Question], probe: Question) -> list[Question]:
    """Those of a group that do not ask what its probe asks in nearly the same words."""
    return [each for each in group if not is_near_copy(each.question, probe.question)]


def _near_any(question: str, others: Iterable[str]) -> bool:
    return any(is_near_copy(question, other) for other in others)
