"""Write self-edits: study notes about facts by several strategies, and the probes held out from them.

The author writes, and what it wrote is checked: an answer must be a span of the statement, a
reply must say it, the question must not give it away, and the author, asked the question with the
statement before it, must find the same answer again.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from engram.grading import is_right, normalise, token_f1
from engram.similarity import is_near_copy
from worker.author import tasks
from worker.author.client import GREEDY, Author, Job, Sampling, find_answers
from worker.author.tasks import Question
from worker.person import second_person

_MIN_AGREEMENT = 0.5
_MAX_PROBES = 4
_MAX_CUES = 8
_NOT_CUES = set("have with that this been they them from every only more than just what when where which your".split())
_ADDRESS = {"your", "yours", "have", "that", "with"}


@dataclass(frozen=True, slots=True)
class Note:
    """One thing to study: a prompt, and the answer to learn."""

    fact_id: str
    family: str
    prompt: str
    answer: str


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A probe question of a fact and the answers that are right."""

    fact_id: str
    kind: str
    question: str
    answers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """All that the author wrote about one fact, checked."""

    fact_id: str
    statement: str
    questions: tuple[Question, ...]
    rewrites: tuple[str, ...]
    implications: tuple[Question, ...]
    probes: tuple[Question, ...]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A kind of self-edit: which families of notes, what a question is answered with, how fast it is trained.

    `recites`: every question about the fact is answered with the whole fact, said to the user, which
    a small model learns surest; else with the author's own reply to just that question.
    """

    name: str
    families: tuple[str, ...]
    recites: bool
    learning_rate_factor: float = 1.0


STRATEGIES = (
    Strategy("recite", ("qa", "cues"), recites=True),
    Strategy("rewrite", ("qa", "cues", "rewrite"), recites=True, learning_rate_factor=0.75),
    Strategy("self-qa", ("qa", "rewrite", "implications"), recites=False),
)


DRAWS = (
    (tasks.QA, GREEDY),
    (tasks.QA, Sampling(0.6, 1)),
    (tasks.PROBE, GREEDY),
    (tasks.PROBE, Sampling(0.6, 2)),
    (tasks.REWRITE, GREEDY),
    (tasks.IMPLY, GREEDY),
)


def study(statements: Mapping[str, str], author: Author, *, seed: int) -> list[Study]:
    """Have the author write about facts (statements by fact id), all in one batch, and keep what passes the checks."""
    jobs = [
        Job(task, statement, replace(sampling, seed=sampling.seed + seed))
        for statement in statements.values()
        for task, sampling in DRAWS
    ]
    outputs = iter(author.write_all(jobs))
    written = {fact_id: [(task, next(outputs)) for task, _ in DRAWS] for fact_id in statements}
    asked = {fact_id: _read(drafts, tasks.QA, fields=3) for fact_id, drafts in written.items()}
    probes = {fact_id: _read(drafts, tasks.PROBE, fields=2) for fact_id, drafts in written.items()}
    sound = _sound([(statements[fact], question) for fact in statements for question in asked[fact] + probes[fact]], author)
    return [
        Study(
            fact_id=fact,
            statement=statement,
            questions=tuple(question for question in asked[fact] if (statement, question) in sound),
            rewrites=tuple(line for line in _rewrites(written[fact]) if is_true_to(line, statement)),
            implications=tuple(
                Question(item.question, item.answer, item.answer) for item in _read(written[fact], tasks.IMPLY, fields=2)
            ),
            probes=tuple(question for question in probes[fact] if (statement, question) in sound),
        )
        for fact, statement in statements.items()
    ]


def choose_probes(written: Study, *, given: Sequence[HeldOut] = ()) -> list[HeldOut]:
    """The questions to hold out: those given with the fact, else the author's, as different as they come.

    A probe must not nearly copy the first (greedy) question about a detail: that one is worth more
    as a note. Each detail gets one before any gets a second.
    """
    if given:
        return list(given)
    pool = [probe for probe in written.probes if not _near_any(probe.question, _first_asked(written.questions))]
    pool = pool or list(written.probes) or list(written.questions[1:2])
    chosen: list[Question] = []
    for round_number in range(2):
        for probe in pool:
            of_same = sum(normalise(probe.answer) == normalise(other.answer) for other in chosen)
            fresh = not _near_any(probe.question, [other.question for other in chosen])
            if of_same == round_number and fresh and len(chosen) < _MAX_PROBES:
                chosen.append(probe)
    return [HeldOut(written.fact_id, "generalization", probe.question, (probe.answer,)) for probe in chosen]


def notes_of(written: Study, strategy: Strategy, *, probes: Iterable[HeldOut]) -> list[Note]:
    """The notes of one strategy; none asks what a probe asks in nearly the same words."""
    held_out = [probe.question for probe in probes]
    whole = second_person(written.statement)
    notes = [
        Note(written.fact_id, "qa", question.question, whole if strategy.recites else question.reply)
        for question in written.questions
    ]
    if "cues" in strategy.families:
        cues = cue_words(written.statement)
        notes += [Note(written.fact_id, "cues", f"What do you know about {cue}?", whole) for cue in cues]
    if "rewrite" in strategy.families:
        topics = list(dict.fromkeys(question.answer for question in written.questions)) or ["that"]
        notes += [
            Note(written.fact_id, "rewrite", f"Tell me about {topics[index % len(topics)]}.", line)
            for index, line in enumerate(written.rewrites)
        ]
    if "implications" in strategy.families:
        notes += [Note(written.fact_id, "implications", item.question, item.reply) for item in written.implications]
    unique = {(tuple(normalise(note.prompt)), tuple(normalise(note.answer))): note for note in reversed(notes)}
    return [note for note in reversed(unique.values()) if not _near_any(note.prompt, held_out)]


def is_checkable(question: Question, statement: str) -> bool:
    """Whether the answer is a span of the statement, the reply says it, and the question does not."""
    return (
        is_right(statement, [question.answer])
        and not is_right(question.question, [question.answer])
        and (not question.reply or is_right(question.reply, [question.answer]))
        and len(normalise(question.question)) >= 2
    )


def cue_words(statement: str) -> list[str]:
    """The first words of the statement that may bring the fact to mind: names, numbers and longer words."""
    words = dict.fromkeys(re.findall(r"[^\W_][\w'’-]+", statement))
    return [word for word in words if len(word) > 3 and word.lower() not in _NOT_CUES][:_MAX_CUES]


def is_true_to(line: str, statement: str) -> bool:
    """Whether a restatement brings in few words of its own: half of its longer words stand in the statement."""
    words = [word for word in normalise(line) if len(word) > 3 and word not in _ADDRESS]
    known = set(normalise(statement))
    return bool(words) and sum(word in known for word in words) >= 0.5 * len(words)


def _read(written: list[tuple[str, str]], task: str, *, fields: int) -> list[Question]:
    """The questions of a task's outputs, each once, in the order in which it was first written."""
    first: dict[tuple[str, ...], Question] = {}
    for written_for, output in written:
        if written_for == task:
            for question in tasks.read_questions(output, fields=fields):
                first.setdefault(tuple(normalise(question.question)), question)
    return list(first.values())


def _rewrites(written: list[tuple[str, str]]) -> list[str]:
    lines = [line for task, output in written if task == tasks.REWRITE for line in tasks.read_rewrites(output)]
    return list(dict.fromkeys(lines))


def _sound(pairs: Sequence[tuple[str, Question]], author: Author) -> set[tuple[str, Question]]:
    """Questions, each with its statement, whose answer the author finds again in the statement."""
    checkable = [(statement, question) for statement, question in pairs if is_checkable(question, statement)]
    found = find_answers(author, [(statement, question.question) for statement, question in checkable])
    return {
        pair for pair, answer in zip(checkable, found, strict=True) if token_f1(answer, [pair[1].answer]) >= _MIN_AGREEMENT
    }


def _first_asked(questions: Sequence[Question]) -> list[str]:
    first: dict[tuple[str, ...], str] = {}
    for question in questions:
        first.setdefault(tuple(normalise(question.answer)), question.question)
    return list(first.values())


def _near_any(question: str, others: Iterable[str]) -> bool:
    return any(is_near_copy(question, other) for other in others)
