"""Find earlier facts that a new statement contradicts: the same question now has another answer."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from engram.grading import is_right, normalise
from engram.similarity import content_words
from scope.names import names_in
from worker.author import tasks
from worker.author.client import Author, find_answers
from worker.self_edits import HeldOut
from worker.sentences import cloze, sentence_with

_FEWEST_SHARED = 2
_MIN_SHARED = 0.6  # of the words of the longer question
# Of 38 told changes the fact that changed was the nearest one in 37, and at least so near in all but one.
_NEAR_ENOUGH = -0.2
# *I also have a cat named Miso* takes nothing back.
_ADDS = re.compile(r"\b(?:also|as well|another|besides)\b|\btoo\W*$", re.IGNORECASE)
_CHANGES = re.compile(
    r"\b(?:now|nowadays|these days|from (?:now on|this|next)|as of|since|until|no longer|any ?more|again|instead"
    r"|rather than|used to|actually|correction|wrong|mistake|meant|new|chang(?:ed?|es|ing)|mov(?:ed?|es|ing)"
    r"|switch(?:ed|es)?|swap(?:ped|s)?|replac(?:ed?|es)|shift(?:ed|s)?|sold|quit|g[ai]ve(?:n|s)? up|stop(?:ped|s)"
    r"|start(?:ed|s)?|became|become|turned|put (?:off|back|forward)|postponed|rescheduled|brought forward"
    r"|cancel(?:led|ed)|decided|left|closed|retired|raised|lowered|(?:down|up) to)\b",
    re.IGNORECASE,
)
_OWN = re.compile(r"\b(?:my|our)\b", re.IGNORECASE)
# *my pottery class*, *my sister's dog*, *my brother (is flying)*
_THING = re.compile(r"\b(?:my|our) (\w+(?:['’]s)?(?: (?!(?:is|are|was|were|has|have|had|will)\b)\w+)?)", re.IGNORECASE)
# What one likes, speaks or once did may be several things.
_SEVERAL = re.compile(r"\bI (?:like|love|enjoy|hate|speak|know|once)\b")


@dataclass(frozen=True, slots=True)
class NewFact:
    """A statement and every question that is known to ask for it; `surely` are those that certainly do: probes, and
    clozes of its own words."""

    statement: str
    asked: Sequence[str]
    surely: Sequence[str] = ()

    @property
    def tells_change(self) -> bool:
        return _CHANGES.search(self.statement) is not None


# How near each earlier fact is, by id, to a new one (`worker.nearness`).
Nearness = Callable[[NewFact], Mapping[str, float]]


def superseded_by(
    new: NewFact, earlier: Sequence[HeldOut], statements: Mapping[str, str], author: Author, *, nearness: Nearness
) -> set[str]:
    """Ids of facts whose probe or cloze the new statement answers differently, as the author reads it.

    Asked are the questions that one of the new fact's own asks too (`_same_thing`), and where the statement tells of a
    change all questions about the earlier fact that is nearest. `statements` of the earlier facts, by id.
    """
    known = [*earlier, *_clozes(earlier, statements)]
    changed = _nearest(nearness(new)) if new.tells_change else None
    names = names_in(new.statement).union(*map(names_in, new.asked))
    about_changed = [p for p in known if p.fact_id == changed and _is_of(names, names_in(p.question))]
    candidates = list(dict.fromkeys([*about_changed, *_asking_same(new, known)]))
    answers = find_answers(author, [(new.statement, probe.question) for probe in candidates])
    return {
        probe.fact_id
        for probe, answer in zip(candidates, answers, strict=True)
        if answer != tasks.UNKNOWN
        and _differs(answer, probe.answers)
        and not _adds(new.statement, answer)
        and (
            probe in about_changed
            or _same_subject(new.statement, answer, f"{statements[probe.fact_id]} {probe.question}")
        )
    }


def _clozes(earlier: Sequence[HeldOut], statements: Mapping[str, str]) -> list[HeldOut]:
    """Each earlier fact with a detail left out: asked in other words than its own, a question may miss its like."""
    asked = [(probe, cloze(statements[probe.fact_id], probe.answers[0])) for probe in earlier]
    return [replace(probe, question=question) for probe, question in asked if question]


def _asking_same(new: NewFact, known: Sequence[HeldOut]) -> list[HeldOut]:
    """Those that have nearly the content words of one of the new fact's questions, and none that nothing about the new
    fact has."""
    if _SEVERAL.search(new.statement) and not new.tells_change:
        return []
    own = [content_words(question) for question in new.asked]
    words = content_words(new.statement).union(*own)
    return [
        probe
        for probe in known
        if (old := content_words(probe.question)) <= words
        and any(_same_thing(old, asked, fewest=_fewest_shared(probe.question, new)) for asked in own)
    ]


def _same_thing(old: frozenset[str], new: frozenset[str], *, fewest: int) -> bool:
    shared = len(old & new)
    return shared >= fewest and shared >= _MIN_SHARED * max(len(old), len(new))


def _fewest_shared(old_question: str, new: NewFact) -> int:
    """One word is enough only to ask for something of the user's (*who is my dentist*) that has changed: what I am
    allergic to or like, I may be or like beside much else."""
    return 1 if new.tells_change and _OWN.search(old_question) else _FEWEST_SHARED


def _nearest(near: Mapping[str, float]) -> str | None:
    nearest = max(near, key=lambda fact_id: near[fact_id], default=None)
    return nearest if nearest is not None and near[nearest] >= _NEAR_ENOUGH else None


def _is_of(names: frozenset[str], asked: frozenset[str]) -> bool:
    """Whether a question with names has one of these."""
    return not asked or not asked.isdisjoint(names)


def _same_subject(statement: str, answer: str, old: str) -> bool:
    """Whether all of the user's that the statement is about is in the old words too, but for the answer: *my pottery
    class* is not *my yoga class*."""
    things = content_words(" ".join(_THING.findall(statement)))
    return things - content_words(answer) <= content_words(old)


def _adds(statement: str, answer: str) -> bool:
    """Whether what answers is said to be so beside what was said before."""
    return bool(_ADDS.search(sentence_with(statement, answer)))


def _differs(answer: str, golds: Sequence[str]) -> bool:
    """Neither says the other: '9 May' differs from '5 May', 'Oslo' does not from 'in Oslo'."""
    return bool(normalise(answer)) and not is_right(answer, golds) and not any(is_right(g, [answer]) for g in golds)
