"""The fact ledger: read it, add to it, and keep the notes and probes of its facts."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from engram.errors import NotFound
from engram.grading import is_right, normalise
from engram.ids import new_id
from engram.lifecycle import FactStatus
from engram.models import Candidate, Fact, LearningRun, Message, Note, Probe, Space
from engram.repositories.pages import Page, newest_first
from engram.similarity import content_words


def superseded_reason(newer_id: str) -> str:
    """The reason of a fact that a run found to be replaced."""
    return f"superseded by {newer_id}"


_STANDING = (FactStatus.PENDING, FactStatus.LEARNING, FactStatus.LIVE)


class FactRepository:
    def __init__(self, session: Session) -> None:
        self.session = session

    def get(self, tenant: str, fact_id: str) -> Fact:
        """Raises NotFound, also for another tenant's fact."""
        query = select(Fact).join(Space, Space.id == Fact.space_id).where(Fact.id == fact_id, Space.tenant == tenant)
        if fact := self.session.scalar(query):
            return fact
        raise NotFound(f"fact {fact_id!r} does not exist", param="id")

    def page(
        self, space_id: str, *, status: str | None, text: str | None, limit: int, cursor: str | None
    ) -> Page[Fact]:
        query = select(Fact).where(Fact.space_id == space_id)
        if status:
            query = query.where(Fact.status == status)
        if text:
            query = query.where(Fact.statement.icontains(text, autoescape=True))
        return newest_first(self.session, query, id_column=Fact.id, limit=limit, cursor=cursor)

    def find_standing(self, space_id: str, statement: str) -> Fact | None:
        """A pending, learning or live fact that says the same words."""
        words = normalise(statement)
        return next((f for f in self.with_status(space_id, *_STANDING) if normalise(f.statement) == words), None)

    def add(
        self,
        space_id: str,
        statement: str,
        *,
        message: Message | None = None,
        span: tuple[int, int] | None = None,
        supersedes_id: str | None = None,
        status: FactStatus = FactStatus.PENDING,
        reason: str | None = None,
    ) -> Fact:
        fact = Fact(
            id=new_id("fact"),
            space_id=space_id,
            statement=statement,
            status=status.value,
            reason=reason,
            message_id=message.id if message else None,
            span_start=span[0] if span else None,
            span_end=span[1] if span else None,
            supersedes_id=supersedes_id,
        )
        self.session.add(fact)
        self.session.flush()
        return fact

    def with_status(self, space_id: str, *statuses: FactStatus, limit: int | None = None) -> list[Fact]:
        """Facts in any of the statuses, oldest first."""
        query = select(Fact).where(Fact.space_id == space_id, Fact.status.in_(statuses)).order_by(Fact.id)
        return list(self.session.scalars(query.limit(limit)))

    def by_ids(self, fact_ids: Iterable[str]) -> list[Fact]:
        return list(self.session.scalars(select(Fact).where(Fact.id.in_(list(fact_ids))).order_by(Fact.id)))

    def superseded_by(self, newer: Fact) -> list[Fact]:
        """What a fact replaced, by a run's finding or an edit, and what that had replaced if it was never learned."""
        query = select(Fact).where(Fact.space_id == newer.space_id, Fact.status == FactStatus.SUPERSEDED)
        found = or_(Fact.id == newer.supersedes_id, Fact.reason == superseded_reason(newer.id))
        older = list(self.session.scalars(query.where(found).order_by(Fact.id)))
        return older + [oldest for old in older if not self.notes([old.id]) for oldest in self.superseded_by(old)]

    def spaces_with(self, *statuses: FactStatus) -> Sequence[str]:
        """Ids of the spaces that hold a fact in any of the statuses."""
        return self.session.scalars(select(Fact.space_id).where(Fact.status.in_(statuses)).distinct()).all()

    def count_by_status(self, space_id: str | None = None) -> dict[str, int]:
        """How many facts have each status, in one space or in all."""
        query = select(Fact.status, func.count()).group_by(Fact.status)
        rows = self.session.execute(query.where(Fact.space_id == space_id) if space_id else query)
        return {status: count for status, count in rows}  # noqa: C416 -- dict() would take rows for a mapping

    def add_probe(self, fact_id: str, *, kind: str, origin: str, question: str, answers: Sequence[str]) -> Probe:
        probe = Probe(
            id=new_id("probe"), fact_id=fact_id, kind=kind, origin=origin, question=question, answers=list(answers)
        )
        self.session.add(probe)
        return probe

    def probes(self, fact_ids: Iterable[str], *, origin: str | None = None) -> list[Probe]:
        query = select(Probe).where(Probe.fact_id.in_(list(fact_ids))).order_by(Probe.id)
        return list(self.session.scalars(query.where(Probe.origin == origin) if origin else query))

    def drop_written_probes(self, fact_id: str) -> None:
        """Delete what the author wrote to examine a fact; what its user gave stays."""
        self.session.execute(delete(Probe).where(Probe.fact_id == fact_id, Probe.origin == "author"))

    def notes(self, fact_ids: Iterable[str]) -> list[Note]:
        return list(self.session.scalars(select(Note).where(Note.fact_id.in_(list(fact_ids))).order_by(Note.id)))

    def replace_notes(self, run_id: str, notes: Iterable[dict[str, Any]]) -> None:
        """Store the winning candidate's notes as its facts' rehearsal material, in place of older ones."""
        rows = list(notes)
        self.session.execute(delete(Note).where(Note.fact_id.in_({row["fact_id"] for row in rows})))
        self.session.add_all(Note(id=new_id("note"), run_id=run_id, **row) for row in rows)

    def erased(self, fact_ids: Iterable[str | None]) -> set[str]:
        """Those of the facts that are forgotten."""
        found = self.by_ids({fact_id for fact_id in fact_ids if fact_id})
        return {fact.id for fact in found if fact.status == FactStatus.FORGOTTEN}

    def erase_study_material(self, fact: Fact) -> None:
        """Delete a fact's notes and probes, also from the candidates and reports of its space's runs.

        Other questions stay in the reports, without the answers that gave the fact away.
        """
        golds = {answer for probe in self.probes([fact.id]) for answer in probe.answers}
        self.session.execute(delete(Note).where(Note.fact_id == fact.id))
        self.session.execute(delete(Probe).where(Probe.fact_id == fact.id))
        candidates = self._candidates(fact.space_id)
        # The probes of a refused attempt stand in its reports alone.
        golds.update(answer for candidate in candidates for answer in _answers_to(candidate.report or {}, fact.id))
        for candidate in candidates:
            candidate.notes = [note for note in candidate.notes if note.get("fact_id") != fact.id]
            if candidate.report:
                candidate.report = _report_without(candidate.report, fact.id, sorted(golds))

    def erase_questions_taken_over(self, fact: Fact) -> None:
        """Delete the questions that other facts of its space have in common with a fact, where they hold words that
        only this one's statement says: what replaced it is asked what it was asked."""
        asked = {note.prompt for note in self.notes([fact.id])} | {probe.question for probe in self.probes([fact.id])}
        others = self.session.scalars(select(Fact).where(Fact.space_id == fact.space_id, Fact.id != fact.id))
        own = {other.id: content_words(fact.statement) - content_words(other.statement) for other in others}

        def is_taken_over(fact_id: str | None, question: str) -> bool:
            return question in asked and bool(content_words(question) & own.get(fact_id or "", frozenset()))

        for note in self.notes(own):
            if is_taken_over(note.fact_id, note.prompt):
                self.session.delete(note)
        for probe in self.probes(own):
            if is_taken_over(probe.fact_id, probe.question):
                self.session.delete(probe)
        for candidate in self._candidates(fact.space_id):
            candidate.notes = [n for n in candidate.notes if not is_taken_over(n.get("fact_id"), n.get("prompt", ""))]
            if candidate.report:
                kept = [
                    item
                    for item in candidate.report.get("asked", [])
                    if not is_taken_over(item.get("fact_id"), item["question"])
                ]
                candidate.report = {**candidate.report, "asked": kept}

    def _candidates(self, space_id: str) -> Sequence[Candidate]:
        runs = select(LearningRun.id).where(LearningRun.space_id == space_id)
        return self.session.scalars(select(Candidate).where(Candidate.run_id.in_(runs))).all()

    def erase_spans(self, message_id: str) -> None:
        """Facts of an erased message keep their statements, but no place in it."""
        facts = update(Fact).where(Fact.message_id == message_id)
        self.session.execute(facts.values(span_start=None, span_end=None))


def _answers_to(report: dict[str, Any], fact_id: str) -> Iterator[str]:
    """What was right in a report's questions about a fact."""
    return (answer for item in report.get("asked", []) if item.get("fact_id") == fact_id for answer in item["answers"])


def _report_without(report: dict[str, Any], fact_id: str, golds: Sequence[str]) -> dict[str, Any]:
    asked = [
        {**item, "answer": ""} if is_right(item["answer"], golds) else item
        for item in report.get("asked", [])
        if item.get("fact_id") != fact_id
    ]
    return {**report, "asked": asked}
