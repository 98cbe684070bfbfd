"""Have the author write about new facts, and keep what passes the checks.

An answer must be a span of the statement, a reply must say it, the question must not give it away,
and the author, asked the question with the statement before it, must find the same answer again.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from engram.grading import is_right, normalise, token_f1
from worker.author import tasks
from worker.author.client import GREEDY, Author, Job, Sampling, find_answers, write_about
from worker.author.tasks import Question
from worker.sentences import (
    cloze,
    named_parts,
    names_others,
    own_words,
    parts,
    recited,
    said_back,
    sentence_with,
    strays,
)

_MIN_AGREEMENT = 0.5
_MAX_DETAILS = 5
_QA_DRAWS = (GREEDY, Sampling(0.5, 1), Sampling(0.8, 2))
_MORE_DRAWS = (Sampling(0.8, 3), Sampling(1.0, 4), Sampling(1.0, 5))
_ENOUGH_QUESTIONS = 12

Part = tuple[str, str]  # a fact's id, and what of its statement is studied at once
PartDetail = tuple[Part, str]  # with a span of it


@dataclass(frozen=True, slots=True)
class Study:
    """All that was written about one fact, checked. `questions` are grouped by the detail that answers them.

    `clozes` are the statement's own words with a detail left out; code makes them, so they are right.
    """

    fact_id: str
    statement: str
    questions: tuple[tuple[Question, ...], ...]
    clozes: tuple[Question, ...] = ()
    rewrites: tuple[str, ...] = ()
    implications: tuple[Question, ...] = ()


def study(statements: Mapping[str, str], author: Author, *, seed: int) -> list[Study]:
    """Have the author write about facts (statements by fact id), all in one batch, and keep what passes the checks.

    A passage is studied sentence by sentence. About a part of which few questions passed the author writes once more.
    """
    in_parts = {(fact, part): part for fact, statement in statements.items() for part in parts(statement)}
    written = _study_parts(in_parts, author, seed=seed)
    return [
        _joined(fact, statement, [one for one in written if one.fact_id == fact])
        for fact, statement in statements.items()
    ]


def _joined(fact_id: str, statement: str, written: Sequence[Study]) -> Study:
    return Study(
        fact_id=fact_id,
        statement=statement,
        questions=tuple(group for one in written for group in one.questions),
        clozes=tuple(each for one in written for each in one.clozes),
        rewrites=tuple(line for one in written for line in one.rewrites),
        implications=tuple(each for one in written for each in one.implications),
    )


def _study_parts(statements: Mapping[Part, str], author: Author, *, seed: int) -> list[Study]:
    """The same for statements by part, one study each."""
    details = _list_details(statements, author)
    asked = [(part, detail) for part, own in details.items() for detail in own]
    besides = [
        (statement, Job(task, statement)) for task in (tasks.REWRITE, tasks.IMPLY) for statement in statements.values()
    ]
    questions, restated = _write_questions(statements, asked, author, _seeded(_QA_DRAWS, seed), besides=besides)
    passed = Counter(part for (part, _), kept in questions.items() for _ in kept)
    few = [pair for pair in asked if passed[pair[0]] < _ENOUGH_QUESTIONS]
    more, _ = _write_questions(statements, few, author, _seeded(_MORE_DRAWS, seed))
    questions |= {
        pair: _with_one_reply(_once([*questions[pair], *drawn]), statements[pair[0]], pair[1])
        for pair, drawn in more.items()
    }
    about = {part: {detail: questions[part, detail] for detail in own} for part, own in details.items()}
    rewrites, implications = restated[: len(statements)], restated[len(statements) :]
    return [
        Study(
            fact_id=part[0],
            statement=statement,
            questions=tuple(tuple(kept) for kept in about[part].values() if kept),
            clozes=tuple(_clozes(statement, about[part])),
            rewrites=tuple(line for line in tasks.read_rewrites(said) if not strays(line, statement)),
            implications=tuple(_implied(implied, statement)),
        )
        for (part, statement), said, implied in zip(statements.items(), rewrites, implications, strict=True)
    ]


def is_checkable(question: Question, statement: str) -> bool:
    """Whether the answer is a span of the statement, the reply says it, and the question neither says it nor names
    what the statement does not."""
    return (
        is_right(statement, [question.answer])
        and not is_right(question.question, [question.answer])
        and not names_others(question.question, statement)
        and (not question.reply or is_right(question.reply, [question.answer]))
        and len(normalise(question.question)) >= 2
    )


def _list_details(statements: Mapping[Part, str], author: Author) -> dict[Part, list[str]]:
    """Spans of each statement to ask about: those the author lists, and names and numbers that it left out."""
    outputs = write_about(author, [(statement, Job(tasks.DETAILS, statement)) for statement in statements.values()])
    details = {}
    for (part, statement), output in zip(statements.items(), outputs, strict=True):
        listed = [detail for detail in tasks.read_details(output) if is_right(statement, [detail])]
        listed += [part for part in named_parts(statement) if not any(is_right(each, [part]) for each in listed)]
        details[part] = listed[:_MAX_DETAILS]
    return details


def _write_questions(
    statements: Mapping[Part, str],
    asked: Sequence[PartDetail],
    author: Author,
    draws: Sequence[Sampling],
    *,
    besides: Sequence[tuple[str, Job]] = (),
) -> tuple[dict[PartDetail, list[Question]], list[str]]:
    """The sound questions about each detail, and the outputs of the jobs that were written in the same batch."""
    drawn = [(pair, draw) for pair in asked for draw in draws]
    jobs = [
        (statements[part], Job(tasks.QA, tasks.ask_questions(statements[part], detail), draw))
        for (part, detail), draw in drawn
    ]
    outputs = write_about(author, [*jobs, *besides])
    drafts: dict[PartDetail, list[Question]] = {pair: [] for pair in asked}
    for (pair, _), output in zip(drawn, outputs, strict=False):
        drafts[pair] += tasks.read_questions(output, answer=pair[1])
    drafts = {pair: _once(_with_one_reply(own, statements[pair[0]], pair[1])) for pair, own in drafts.items()}
    sound = _sound([(statements[pair[0]], each) for pair, own in drafts.items() for each in own], author)
    kept = {pair: [each for each in own if (statements[pair[0]], each) in sound] for pair, own in drafts.items()}
    return kept, outputs[len(jobs) :]


def _clozes(statement: str, details: Mapping[str, Sequence[Question]]) -> Iterator[Question]:
    """A cloze of each detail, replied to as the questions about it are: to the rehearsal they are about one thing."""
    for detail, questions in details.items():
        reply = questions[0].reply if questions else _reply(statement, detail, ())
        asked = Question(cloze(statement, detail) or "", detail, reply)
        if is_checkable(asked, statement):
            yield asked


def _seeded(draws: Sequence[Sampling], seed: int) -> list[Sampling]:
    return [replace(draw, seed=draw.seed + seed) for draw in draws]


def _once(questions: Iterable[Question]) -> list[Question]:
    """Each question once, in the order in which it was first written."""
    first: dict[tuple[str, ...], Question] = {}
    for question in questions:
        first.setdefault(tuple(normalise(question.question)), question)
    return list(first.values())


def _with_one_reply(drawn: Sequence[Question], statement: str, detail: str) -> list[Question]:
    """Questions about one detail, all with the same reply: what answers each of them need be learned only once."""
    reply = _reply(statement, detail, [each.reply for each in drawn])
    return [replace(each, reply=reply) for each in drawn]


def _reply(statement: str, detail: str, written: Sequence[str]) -> str:
    """What is replied to questions about a detail: the user's own words where they are short. Of a long statement it is
    what the author wrote with the fewest words of its own, or the sentence where nothing that it wrote says the detail.
    """
    if told := recited(statement, detail):
        return told
    saying = [reply for reply in written if is_right(reply, [detail]) and not strays(reply, statement)]
    whole = said_back(sentence_with(statement, detail))
    return min(saying, key=lambda reply: own_words(reply, statement), default=whole)


def _implied(output: str, statement: str) -> list[Question]:
    """What follows from a statement, each question once, without what names others."""
    return [
        each
        for each in _once(tasks.read_implications(output))
        if not names_others(each.question, statement) and not names_others(each.reply, statement)
    ]


def _sound(pairs: Sequence[tuple[str, Question]], author: Author) -> set[tuple[str, Question]]:
    """Questions, each with its statement, whose answer the author finds again in the statement."""
    checkable = [(statement, question) for statement, question in pairs if is_checkable(question, statement)]
    found = find_answers(author, [(statement, question.question) for statement, question in checkable])
    return {
        (statement, question)
        for (statement, question), answer in zip(checkable, found, strict=True)
        if token_f1(answer, [question.answer]) >= _MIN_AGREEMENT
    }
