"""Decide what a learning run studies: new facts, what to rehearse, what to examine. Reads the ledger once."""

from dataclasses import dataclass

from engram.db import Database
from engram.lifecycle import FactStatus, RunKind, advance_fact
from engram.models import Fact, Probe
from engram.repositories import FactRepository, RunRepository, SpaceRepository
from engram.similarity import content_words
from engram.statements import why_not_a_fact
from worker.self_edits import HeldOut, Note


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one run works on. `rehearsal` and `earlier` come from facts that the live version holds.

    `forgotten`: probes of what a rebuild shall leave out.
    """

    run_id: str
    space_id: str
    kind: str
    parent_version: int
    attempt: int
    new: tuple[Fact, ...]
    kept_ids: tuple[str, ...]
    given_probes: tuple[HeldOut, ...]
    rehearsal: tuple[Note, ...]
    earlier: tuple[HeldOut, ...]
    told: frozenset[str]
    known_answers: frozenset[str]
    forgotten: tuple[HeldOut, ...] = ()

    @property
    def starts_from_base(self) -> bool:
        return self.relearns or self.parent_version == 0

    @property
    def consolidates(self) -> bool:
        """Whether it shall only keep, better than the live version, what that knows."""
        return self.kind == RunKind.CONSOLIDATE

    @property
    def relearns(self) -> bool:
        """Whether it teaches no new fact, but those that are live anew, from the base."""
        return self.kind in (RunKind.REBUILD, RunKind.CONSOLIDATE)


def plan_lesson(database: Database, run_id: str) -> Lesson:
    """Read what the run needs, and reject facts that cannot be learned, with the reason."""
    with database.transaction() as session:
        runs, facts = RunRepository(session), FactRepository(session)
        run = runs.by_id(run_id)
        space = SpaceRepository(session).by_id(run.space_id)
        run.parent_version = space.live_version
        new = [fact for fact in facts.by_ids(runs.fact_ids(run_id)) if _can_be_learned(fact)]
        kept = facts.with_status(space.id, FactStatus.LIVE)
        kept_ids = [fact.id for fact in kept]
        earlier = [_held_out(p) for p in facts.probes(kept_ids)]
        dropped = facts.with_status(space.id, FactStatus.FORGETTING) if run.kind == RunKind.REBUILD else []
        everything = [*new, *kept]
        return Lesson(
            run_id=run_id,
            space_id=space.id,
            kind=run.kind,
            parent_version=space.live_version,
            attempt=run.attempts,
            new=tuple(new),
            kept_ids=tuple(kept_ids),
            given_probes=tuple(_held_out(p) for p in facts.probes([fact.id for fact in new])),
            rehearsal=tuple(Note(n.fact_id, n.family, n.prompt, n.answer) for n in facts.notes(kept_ids)),
            earlier=tuple(earlier),
            forgotten=tuple(_held_out(p) for p in facts.probes([fact.id for fact in dropped])),
            told=frozenset().union(*(content_words(fact.statement) for fact in everything)),
            known_answers=frozenset(answer for probe in earlier for answer in probe.answers),
        )


def _can_be_learned(fact: Fact) -> bool:
    if fact.status in (FactStatus.REJECTED, FactStatus.SUPERSEDED, FactStatus.FORGETTING, FactStatus.FORGOTTEN):
        return False
    if reason := why_not_a_fact(fact.statement):
        advance_fact(fact, to=FactStatus.REJECTED)
        fact.reason = reason
        return False
    advance_fact(fact, to=FactStatus.LEARNING)
    return True


def _held_out(probe: Probe) -> HeldOut:
    return HeldOut(probe.fact_id, probe.kind, probe.question, tuple(probe.answers))
