"""Find earlier facts that a new statement contradicts: the same question now has another answer."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from engram.grading import is_right, normalise
from engram.similarity import content_words
from worker.author import tasks
from worker.author.client import Author, find_answers
from worker.self_edits import HeldOut
from worker.sentences import cloze, sentence_with

_FEWEST_SHARED = 2
_MIN_SHARED = 0.6  # of the words of the longer question
# *I also have a cat named Miso* takes nothing back.
_ADDS = re.compile(r"\b(?:also|as well|another|besides)\b|\btoo\W*$", re.IGNORECASE)
_CHANGES = re.compile(
    r"\b(?:now|these days|from now on|no longer|any ?more|instead|moved|changed|switched|sold|correction)\b",
    re.IGNORECASE,
)
_OWN = re.compile(r"\b(?:my|our)\b", re.IGNORECASE)
_OWNER = re.compile(r"\b(?:my|our|his|her|their) (?:\w+ )?(\w+)['’]s\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class NewFact:
    """A statement, and every question that is known to ask for it, clozes among them."""

    statement: str
    asked: Sequence[str]


def superseded_by(new: NewFact, earlier: Sequence[HeldOut], statements: Mapping[str, str], author: Author) -> set[str]:
    """Ids of facts whose probe or cloze the new statement answers differently.

    Two signs must agree: one of the new fact's own questions asks for the same thing (nearly the same content words;
    the old question has none that nothing about the new fact has, and has those of whom the new one is about: *my
    sister's dog*), and the author, reading the new statement, answers the old question otherwise. `statements` of the
    earlier facts, by id.
    """
    own = [content_words(question) for question in new.asked]
    known = content_words(new.statement).union(*own)
    owners = content_words(" ".join(_OWNER.findall(new.statement)))
    changes = bool(_CHANGES.search(new.statement))
    candidates = [
        probe
        for probe in [*earlier, *_clozes(earlier, statements)]
        if owners <= content_words(probe.question) <= known
        and any(_same_thing(probe.question, asked, changes=changes) for asked in own)
    ]
    answers = find_answers(author, [(new.statement, probe.question) for probe in candidates])
    return {
        probe.fact_id
        for probe, answer in zip(candidates, answers, strict=True)
        if answer != tasks.UNKNOWN and _differs(answer, probe.answers) and not _adds(new.statement, answer)
    }


def _adds(statement: str, answer: str) -> bool:
    """Whether what answers is said to be so beside what was said before."""
    return bool(_ADDS.search(sentence_with(statement, answer)))


def _clozes(earlier: Sequence[HeldOut], statements: Mapping[str, str]) -> list[HeldOut]:
    """Each earlier fact with a detail left out: asked in other words than its own, a question may miss its like."""
    asked = [(probe, cloze(statements[probe.fact_id], probe.answers[0])) for probe in earlier]
    return [replace(probe, question=question) for probe, question in asked if question]


def _same_thing(old_question: str, new: frozenset[str], *, changes: bool) -> bool:
    """One shared word is enough only to ask for something of the user's (*who is my dentist*) that has changed: what I
    am allergic to or like, I may be or like beside much else."""
    old = content_words(old_question)
    shared = len(old & new)
    fewest = 1 if changes and _OWN.search(old_question) else _FEWEST_SHARED
    return shared >= fewest and shared >= _MIN_SHARED * max(len(old), len(new))


def _differs(answer: str, golds: Sequence[str]) -> bool:
    """Neither says the other: '9 May' differs from '5 May', 'Oslo' does not from 'in Oslo'."""
    return bool(normalise(answer)) and not is_right(answer, golds) and not any(is_right(g, [answer]) for g in golds)
