"""Prepare what a run trains on and is examined with, and store it: candidates, probes, supersessions."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

from engram.db import Database
from engram.forgetting import FORGOTTEN_OR_ABOUT_TO_BE
from engram.ids import new_id
from engram.lifecycle import FactStatus, advance_fact
from engram.models import Candidate, Fact
from engram.repositories import FactRepository, RunRepository
from engram.repositories.facts import superseded_reason
from engram.similarity import content_words
from worker.author.client import Author
from worker.curriculum import Lesson
from worker.progress import Progress
from worker.self_edits import (
    QUESTIONS,
    STRATEGIES,
    HeldOut,
    Note,
    Strategy,
    choose_probes,
    notes_of,
    studied,
    wordings_of,
)
from worker.study import Study, study

# Of thirty facts at once, a rate of 2e-3 recalled more than 1e-3 did.
RELEARNING_RATES = (1.0, 0.75, 0.5)

# Which of the earlier facts, statements by id, a new statement replaces.
Supersedes = Callable[[str, Mapping[str, str]], set[str]]


@dataclass(frozen=True, slots=True)
class Material:
    """Candidates as stored, the probes of the new facts, and the earlier facts that they replace."""

    candidates: tuple[Candidate, ...]
    probes: tuple[HeldOut, ...]
    superseded: frozenset[str]

    @property
    def notes(self) -> list[Note]:
        """All candidates' notes."""
        return [Note(**note) for candidate in self.candidates for note in candidate.notes]

    @property
    def asked_words(self) -> frozenset[str]:
        """Content words of the probes: what the ledger may be asked about."""
        return frozenset().union(*(content_words(probe.question) for probe in self.probes))


@dataclass(frozen=True, slots=True)
class Before:
    """The facts that a new one replaces: their ids and statements, and what was asked about them."""

    fact_ids: tuple[str, ...]
    statements: tuple[str, ...]
    questions: tuple[str, ...]


def prepare_material(
    database: Database, lesson: Lesson, author: Author, progress: Progress, *, supersedes: Supersedes, seed: int
) -> Material:
    """Write self-edits for the new facts; to relearn, take the notes that already taught the kept ones."""
    if lesson.relearns:
        rates = (0.0,) if lesson.takes else RELEARNING_RATES
        drafts = [(lesson.kind, rate, list(lesson.rehearsal)) for rate in rates]
        # What is consolidated or taken is not new: it is examined as earlier facts, against the live version.
        anew = lesson.earlier_here if lesson.rebuilds else ()
        return _store(database, lesson, drafts, anew, frozenset()) if lesson.rehearsal else _NOTHING
    before = _supersede(database, lesson, supersedes)
    statements = {fact.id: fact.statement for fact in lesson.new}
    asked = {fact_id: one.questions for fact_id, one in before.items()}
    written = study(statements, author, seed=seed, again=lesson.again, asked=asked)
    probes = [probe for one in written for probe in _probes(lesson, one, before[one.fact_id])]
    teachable = _reject_unteachable(database, lesson, written, probes)
    drafts = [
        (
            strategy.name,
            strategy.learning_rate_factor,
            [n for one in written if one.fact_id in teachable for n in _notes(one, strategy, probes)],
        )
        for strategy in STRATEGIES
    ]
    counts = {name: len(studied(notes)) for name, _, notes in drafts}
    progress.event("notes", notes=counts, probes=len(probes))
    probes = [probe for probe in probes if probe.fact_id in teachable]
    superseded = frozenset(old for one in before.values() for old in one.fact_ids)
    return _store(database, lesson, drafts, probes, superseded) if teachable else _NOTHING


_NOTHING = Material((), (), frozenset())


def _notes(written: Study, strategy: Strategy, probes: Sequence[HeldOut]) -> list[Note]:
    notes = notes_of(written, strategy, probes=probes)
    return notes + wordings_of(written, notes, probes=probes)


def _probes(lesson: Lesson, written: Study, before: Before) -> list[HeldOut]:
    given = [probe for probe in lesson.given_probes if probe.fact_id == written.fact_id]
    return choose_probes(written, given=given, replaced=before.statements)


def _reject_unteachable(
    database: Database, lesson: Lesson, written: Sequence[Study], probes: Sequence[HeldOut]
) -> set[str]:
    """Ids of facts with notes and probes; the others are rejected, with the reason."""
    examined = {probe.fact_id for probe in probes}
    teachable = {one.fact_id for one in written if one.questions and one.fact_id in examined}
    with database.transaction() as session:
        for fact in FactRepository(session).by_ids([fact.id for fact in lesson.new]):
            if fact.id not in teachable:
                advance_fact(fact, to=FactStatus.REJECTED)
                fact.reason = "no checkable question could be written about this statement; say it more plainly"
    return teachable


def _supersede(database: Database, lesson: Lesson, supersedes: Supersedes) -> dict[str, Before]:
    """Mark earlier facts that the new ones contradict: the latest truth wins, history is kept.

    What each new fact, by id, has replaced, also by an edit or before the run was killed. One about which nothing can
    be asked makes the earlier one untrue as well.
    """
    found = {fact.id: supersedes(fact.statement, lesson.kept) for fact in lesson.new}
    with database.transaction() as session:
        facts = FactRepository(session)
        before = {}
        for fact in facts.by_ids(found):
            standing = facts.by_ids(found[fact.id] | {fact.supersedes_id or ""})
            replaced = (*facts.superseded_by(fact), *standing)
            older = {old.id: old for old in replaced if old.status not in FORGOTTEN_OR_ABOUT_TO_BE}
            for old in older.values():
                if old.status == FactStatus.LIVE:
                    advance_fact(old, to=FactStatus.SUPERSEDED)
                    old.reason = superseded_reason(fact.id)
            fact.supersedes_id = fact.supersedes_id or next(iter(older), None)
            before[fact.id] = _read_before(facts, older)
        return before


def _read_before(facts: FactRepository, older: Mapping[str, Fact]) -> Before:
    questions = [note.prompt for note in facts.notes(older) if note.family in QUESTIONS]
    return Before(tuple(older), tuple(old.statement for old in older.values()), tuple(questions))


def _store(
    database: Database,
    lesson: Lesson,
    drafts: Sequence[tuple[str, float, list[Note]]],
    probes: Sequence[HeldOut],
    superseded: frozenset[str],
) -> Material:
    candidates = tuple(
        Candidate(
            id=new_id("cand"),
            run_id=lesson.run_id,
            index=index,
            strategy=name,
            notes=[asdict(note) for note in notes],
            settings={"learning_rate": rate},
        )
        for index, (name, rate, notes) in enumerate(drafts)
    )
    given = {probe.fact_id for probe in lesson.given_probes}
    with database.transaction() as session:
        RunRepository(session).replace_candidates(lesson.run_id, candidates)
        if not lesson.relearns:
            facts = FactRepository(session)
            for probe in probes:
                if probe.fact_id not in given:
                    facts.add_probe(
                        probe.fact_id,
                        kind=probe.kind,
                        origin="author",
                        question=probe.question,
                        answers=probe.answers,
                    )
    return Material(candidates, tuple(probes), superseded)
