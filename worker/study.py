"""Have the author write about new facts, and keep what passes the checks.

An answer must be a span of the statement, a reply must say it, the question must not give it away,
and the author, asked the question with the statement before it, must find the same answer again.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from itertools import islice, zip_longest

from engram.grading import is_right, normalise, token_f1
from engram.similarity import is_near_copy
from worker.author import tasks
from worker.author.client import GREEDY, Author, Job, Sampling, find_answers, write_about
from worker.author.tasks import Question
from worker.sentences import (
    cloze,
    last_said,
    named_parts,
    names_others,
    own_words,
    parts,
    recited,
    said_back,
    sentence_with,
    strays,
    whole_words,
)

_MIN_AGREEMENT = 0.5
_MAX_DETAILS = 5
_DRAWS = (GREEDY, Sampling(0.5, 1), *(Sampling(0.8 if seed % 3 else 1.0, seed) for seed in range(2, 9)))
_DRAWS_AGAIN = (Sampling(0.5, 0), *_DRAWS[1:])
_FEWEST_DRAWS = 3  # of a detail
_DRAWS_AT_ONCE = 12  # of a statement: a batch of so many takes little longer than one of half as many
_MOST_READ_AGAIN = 30

Part = tuple[str, str]  # a fact's id, and what of its statement is studied at once
Drafts = Mapping[str, Sequence[Question]]  # questions by the span of it that answers them


@dataclass(frozen=True, slots=True)
class Study:
    """All that was written about one fact, checked. `questions` are grouped by the detail that answers them; those that
    were asked about what the fact replaces are a group of their own, the last.

    `clozes` are the statement's own words with a detail left out; code makes them, so they are right. `wordings` are
    further questions, which nobody answered again: what a user may say who asks for the fact.
    """

    fact_id: str
    statement: str
    questions: tuple[tuple[Question, ...], ...]
    clozes: tuple[Question, ...] = ()
    rewrites: tuple[str, ...] = ()
    implications: tuple[Question, ...] = ()
    wordings: tuple[Question, ...] = ()


def study(
    statements: Mapping[str, str],
    author: Author,
    *,
    seed: int,
    again: bool = False,
    asked: Mapping[str, Sequence[str]] | None = None,
) -> list[Study]:
    """Have the author write about facts (statements by fact id), all in one batch, and keep what passes the checks.

    A passage is studied sentence by sentence. `again`: it failed before; greedily the author would write the same.
    `asked`: questions by fact id that were about what the fact replaces. Who asked them will ask them again.
    """
    in_parts = {(fact, part): part for fact, statement in statements.items() for part in parts(statement)}
    written = _study_parts(in_parts, author, seed=seed, draws=_DRAWS_AGAIN if again else _DRAWS)
    answered = _answered_anew(statements, asked or {}, author)
    return [
        _joined(fact, statement, [one for one in written if one.fact_id == fact], answered.get(fact, ()))
        for fact, statement in statements.items()
    ]


def _answered_anew(
    statements: Mapping[str, str], asked: Mapping[str, Sequence[str]], author: Author
) -> dict[str, tuple[Question, ...]]:
    """The questions that the author finds an answer to in the new statement, by fact id."""
    pairs = [(fact, each) for fact, own in asked.items() for each in islice(dict.fromkeys(own), _MOST_READ_AGAIN)]
    found = find_answers(author, [(statements[fact], question) for fact, question in pairs]) if pairs else []
    answered: dict[str, tuple[Question, ...]] = {}
    for (fact, question), answer in zip(pairs, found, strict=True):
        replied = Question(question, answer, _reply(statements[fact], answer, ()))
        if is_checkable(replied, statements[fact]):
            answered[fact] = (*answered.get(fact, ()), replied)
    return answered


def _joined(fact_id: str, statement: str, written: Sequence[Study], answered: Sequence[Question]) -> Study:
    known = [each.question for one in written for group in one.questions for each in group]
    more = tuple(each for each in answered if not any(is_near_copy(each.question, other) for other in known))
    return Study(
        fact_id=fact_id,
        statement=statement,
        questions=(*(group for one in written for group in one.questions), *([more] if more else [])),
        clozes=tuple(each for one in written for each in one.clozes),
        rewrites=tuple(line for one in written for line in one.rewrites),
        implications=tuple(each for one in written for each in one.implications),
        wordings=tuple(each for one in written for each in one.wordings),
    )


def _study_parts(
    statements: Mapping[Part, str], author: Author, *, seed: int, draws: Sequence[Sampling]
) -> list[Study]:
    """The same for statements by part, one study each."""
    details = _list_details(statements, author)
    drafts, restated = _write(statements, details, author, [replace(draw, seed=draw.seed + seed) for draw in draws])
    read = {part: list(islice(in_turn(drafts[part].values()), _MOST_READ_AGAIN)) for part in statements}
    sound = _sound([(part[1], each) for part, own in read.items() for each in own], author)
    rewrites, implications = restated[: len(statements)], restated[len(statements) :]
    return [
        Study(
            fact_id=part[0],
            statement=statement,
            questions=_groups(statement, drafts[part], sound),
            clozes=tuple(_clozes(statement, drafts[part])),
            rewrites=tuple(line for line in tasks.read_rewrites(said) if not strays(line, statement)),
            implications=tuple(_implied(implied, statement)),
            wordings=tuple(each for each in in_turn(drafts[part].values()) if (statement, each) not in sound),
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
    """Spans of each statement to ask about: those the author lists, and names and numbers that it left out; where there
    are none, the last word that says something."""
    outputs = write_about(author, [(statement, Job(tasks.DETAILS, statement)) for statement in statements.values()])
    details = {}
    for (part, statement), output in zip(statements.items(), outputs, strict=True):
        written = (whole_words(statement, detail) for detail in tasks.read_details(output))
        listed = [detail for detail in written if is_right(statement, [detail])]
        listed += [part for part in named_parts(statement) if not any(is_right(each, [part]) for each in listed)]
        if not listed and (last := last_said(statement)):
            listed = [last]
        details[part] = list(dict.fromkeys(listed))[:_MAX_DETAILS]
    return details


def _write(
    statements: Mapping[Part, str], details: Mapping[Part, Sequence[str]], author: Author, draws: Sequence[Sampling]
) -> tuple[dict[Part, Drafts], list[str]]:
    """The checkable questions about each detail, the likeliest first; and all rewrites, then all implications, as the
    author wrote them. All of it is one batch: what costs time is the longest answer."""
    drawn = [
        ((part, detail), draw)
        for part, own in details.items()
        for draw in draws[: max(_FEWEST_DRAWS, _DRAWS_AT_ONCE // max(len(own), 1))]
        for detail in own
    ]
    jobs = [
        (statements[part], Job(tasks.QA, tasks.ask_questions(statements[part], detail), draw))
        for (part, detail), draw in drawn
    ]
    besides = [
        (statement, Job(task, statement)) for task in (tasks.REWRITE, tasks.IMPLY) for statement in statements.values()
    ]
    outputs = write_about(author, [*jobs, *besides])
    drafts: dict[Part, dict[str, list[Question]]] = {part: {each: [] for each in own} for part, own in details.items()}
    for ((part, detail), _), output in zip(drawn, outputs, strict=False):
        drafts[part][detail] += tasks.read_questions(output, answer=detail)
    checked: dict[Part, Drafts] = {
        part: {detail: _checkable(own, statements[part], detail) for detail, own in about.items()}
        for part, about in drafts.items()
    }
    return checked, outputs[len(jobs) :]


def _checkable(drawn: Sequence[Question], statement: str, detail: str) -> list[Question]:
    return [each for each in _once(_with_one_reply(drawn, statement, detail)) if is_checkable(each, statement)]


def in_turn(groups: Iterable[Sequence[Question]]) -> Iterator[Question]:
    """The first question about each detail, then the second, and so on."""
    return (each for rank in zip_longest(*groups) for each in rank if each)


def _groups(statement: str, drafts: Drafts, sound: Set[tuple[str, Question]]) -> tuple[tuple[Question, ...], ...]:
    kept = (tuple(each for each in own if (statement, each) in sound) for own in drafts.values())
    return tuple(own for own in kept if own)


def _clozes(statement: str, details: Mapping[str, Sequence[Question]]) -> Iterator[Question]:
    """A cloze of each detail, replied to as the questions about it are: to the rehearsal they are about one thing."""
    for detail, questions in details.items():
        reply = questions[0].reply if questions else _reply(statement, detail, ())
        asked = Question(cloze(statement, detail) or "", detail, reply)
        if is_checkable(asked, statement):
            yield asked


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
    """Checkable questions, each with its statement, whose answer the author finds again in the statement."""
    found = find_answers(author, [(statement, question.question) for statement, question in pairs])
    return {
        (statement, question)
        for (statement, question), answer in zip(pairs, found, strict=True)
        if token_f1(answer, [question.answer]) >= _MIN_AGREEMENT
    }
