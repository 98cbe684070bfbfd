"""Find earlier facts that a new statement contradicts: the same question now has another answer."""

from collections.abc import Iterable, Sequence

from engram.grading import is_right, normalise
from engram.similarity import content_words
from worker.author import tasks
from worker.author.client import Author, find_answers
from worker.self_edits import HeldOut

_MIN_SHARED_WORDS = 1


def superseded_by(
    statement: str, own_probes: Iterable[HeldOut], earlier: Sequence[HeldOut], author: Author
) -> set[str]:
    """Ids of facts whose probe the statement answers differently.

    Two signs must agree: one of the new fact's own questions asks for the same thing (their content
    words are the same), and the author, reading the statement, answers the old question otherwise.
    """
    asked = [content_words(probe.question) for probe in own_probes]
    candidates = [probe for probe in earlier if any(_same_thing(content_words(probe.question), own) for own in asked)]
    answers = find_answers(author, [(statement, probe.question) for probe in candidates])
    return {
        probe.fact_id
        for probe, answer in zip(candidates, answers, strict=True)
        if answer != tasks.UNKNOWN and _differs(answer, probe.answers)
    }


def _same_thing(old: frozenset[str], new: frozenset[str]) -> bool:
    shared = old & new
    return len(shared) > _MIN_SHARED_WORDS and len(shared) >= 0.6 * max(len(old), len(new))


def _differs(answer: str, golds: Sequence[str]) -> bool:
    """Neither says the other: '9 May' differs from '5 May', 'Oslo' does not from 'in Oslo'."""
    return bool(normalise(answer)) and not is_right(answer, golds) and not any(is_right(g, [answer]) for g in golds)
