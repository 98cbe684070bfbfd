"""Record how a run ended: its own status, and what becomes of its facts. Each in one transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from engram.db import Database
from engram.forgetting import forget_unserved
from engram.gate import GateDecision
from engram.lifecycle import FactStatus, RunKind, RunStatus, advance_fact, advance_run
from engram.models import Candidate, Fact, LearningRun, Space
from engram.promotion import make_live
from engram.repositories import FactRepository, RunRepository, SpaceRepository
from engram.repositories.runs import GAVE_WAY
from engram.routing import BASE_VERSION
from worker.curriculum import Lesson, held_by_live, shards_to_rebuild

LEARNED_SHARE = 0.5
MAX_FACT_ATTEMPTS = 2
MOST_REBUILDS = 3  # without a fact that was replaced, until the next version leaves it out anyway


def keep_winner(database: Database, lesson: Lesson, candidate: Candidate, *, learned: Sequence[str]) -> list[str]:
    """Store the winner's notes as rehearsal material; facts it did not learn go back or are rejected.

    Returns the earlier facts that stand again, because what would have replaced them was not learned.
    """
    with database.transaction() as session:
        facts = FactRepository(session)
        if lesson.new:
            facts.replace_notes(lesson.run_id, [note for note in candidate.notes if note["fact_id"] in learned])
        not_learned = [fact.id for fact in lesson.new if fact.id not in learned]
        return _try_again(session, not_learned, "the winning candidate did not learn this fact")


def decided(database: Database, run_id: str, decision: GateDecision, *, index: int, reason: str) -> None:
    """Store the gate's decision on the winner, or on the candidate that came closest."""
    with database.transaction() as session:
        RunRepository(session).by_id(run_id).decision = {**decision.to_json(), "candidate": index, "reason": reason}


def prove_forgetting(database: Database, proofs: Mapping[str, dict[str, Any]]) -> None:
    """Keep the proof with each fact that is being forgotten (`worker.proof`)."""
    with database.transaction() as session:
        for fact in FactRepository(session).by_ids(proofs):
            fact.forgetting_proof = proofs[fact.id]


def reject(database: Database, lesson: Lesson, *, reason: str) -> None:
    """End a run that published nothing. The live version is untouched."""
    with database.transaction() as session:
        _try_again(session, [fact.id for fact in lesson.new], reason)
        run = RunRepository(session).by_id(lesson.run_id)
        run.decision = {"reasons": [], **(run.decision or {}), "admitted": False, "reason": reason}
        RunRepository(session).finish(run, to=RunStatus.REJECTED)
        _leave_out_all_the_same(session, run)


def end(
    database: Database, run_id: str, *, to: RunStatus, version: int | None = None, error: str | None = None
) -> None:
    """End a run that reached publishing. Nothing is wrong with it where another version went live meanwhile; from that
    one what is to be left out is left out by a run of its own."""
    with database.transaction() as session:
        runs = RunRepository(session)
        run = runs.by_id(run_id)
        run.published_version = version
        reason = error or "passed the gate"
        run.decision = {**(run.decision or {}), "admitted": version is not None, "reason": reason}
        runs.finish(run, to=to, error=error)
        if version is None:
            moved = SpaceRepository(session).by_id(run.space_id, lock=True).live_version != run.parent_version
            _try_again(session, runs.fact_ids(run_id), error or "publishing failed", counts=not moved)
            if not moved:
                _leave_out_all_the_same(session, run)


def give_way(database: Database, run_id: str) -> None:
    """End a consolidation that stood in the way. Nothing was published; the live version is untouched."""
    with database.transaction() as session:
        runs = RunRepository(session)
        runs.finish(runs.by_id(run_id), to=RunStatus.REJECTED, error=GAVE_WAY)


def requeue(database: Database, run_id: str, *, counts: bool) -> None:
    """Put a run back in the queue; `counts` says whether this try counts."""
    with database.transaction() as session:
        run = RunRepository(session).by_id(run_id)
        advance_run(run, to=RunStatus.QUEUED)
        run.stage = None
        run.attempts -= 0 if counts else 1


def fail_or_requeue(database: Database, run_id: str, reason: str, *, max_attempts: int) -> None:
    """Try a broken run again; after `max_attempts` tries it ends as failed, and its facts with it."""
    with database.transaction() as session:
        runs = RunRepository(session)
        run = runs.by_id(run_id)
        if run.attempts < max_attempts:
            advance_run(run, to=RunStatus.QUEUED)
            run.stage = None
            return
        runs.finish(run, to=RunStatus.FAILED, error=reason)
        for fact in FactRepository(session).by_ids(runs.fact_ids(run_id)):
            if fact.status == FactStatus.LEARNING:
                advance_fact(fact, to=FactStatus.REJECTED)
                fact.reason = f"learning failed: {reason}"
        _leave_out_all_the_same(session, run)


def _leave_out_all_the_same(session: Session, run: LearningRun) -> None:
    """What a run that published nothing was to leave out: what is to be forgotten, or what was replaced by facts that
    are given up."""
    space = SpaceRepository(session).by_id(run.space_id, lock=True)
    facts = FactRepository(session)
    if run.kind == RunKind.REBUILD and (forgetting := facts.with_status(space.id, FactStatus.FORGETTING)):
        _do_without_the_shard(session, space, forgetting)
    elif space.live_version == run.parent_version and (replaced := _answered_though_replaced(session, space, run)):
        _leave_out(session, space, run, replaced)


def _answered_though_replaced(session: Session, space: Space, run: LearningRun) -> list[str]:
    """Ids of earlier facts that the live version holds, though what the run was to learn makes them untrue and is given
    up: no answer is better than a wrong one."""
    facts, held = FactRepository(session), held_by_live(session, space)
    asked_for = facts.by_ids(RunRepository(session).fact_ids(run.id))
    if run.kind == RunKind.REBUILD:
        older = [fact for fact in asked_for if fact.status == FactStatus.SUPERSEDED]
    else:
        older = [old for fact in asked_for if fact.status == FactStatus.REJECTED for old in facts.superseded_by(fact)]
    return list(dict.fromkeys(old.id for old in older if old.id in held))


def _leave_out(session: Session, space: Space, run: LearningRun, replaced: Sequence[str]) -> None:
    """Have a version published without facts that were replaced; the base serves where nothing else is known."""
    if not FactRepository(session).with_status(space.id, FactStatus.LIVE):
        reason = "nothing is known but what was replaced by facts that could not be learned"
        make_live(session, space.id, BASE_VERSION, actor="worker", action="supersede", reason=reason)
        return
    tried = run.attempts if run.kind == RunKind.REBUILD else 0
    if tried < MOST_REBUILDS:
        rebuild = RunRepository(session).queue(space.id, replaced, kind=RunKind.REBUILD)
        rebuild.parent_version, rebuild.attempts = space.live_version, tried


def _do_without_the_shard(session: Session, space: Space, forgetting: Sequence[Fact]) -> None:
    """A rebuild that published nothing: do without the shard, whose other facts are learned again.

    While there are other shards the next rebuild trains one of them anew, and leaves this one out. Where there are none
    the base serves, so that what was to be forgotten is.
    """
    held = held_by_live(session, space)
    live = FactRepository(session).with_status(space.id, FactStatus.LIVE)
    left_out = shards_to_rebuild(held, kept={one.id for one in live}, forgetting={one.id for one in forgetting})
    elsewhere = [fact for fact in live if held.get(fact.id) not in left_out]
    for fact in live:
        if fact not in elsewhere:
            advance_fact(fact, to=FactStatus.PENDING)
            fact.reason, fact.live_since_version = "to be learned again without what was forgotten", None
    if elsewhere:
        return
    for fact in forgetting:
        if proof := fact.forgetting_proof:
            fact.forgetting_proof = {**proof, "recalled_after": proof["recalled_by_base"]}
    reason = "no version without the forgotten facts passed"
    space = make_live(session, space.id, BASE_VERSION, actor="worker", action="forget", reason=reason)
    forget_unserved(session, space)


def _try_again(session: Session, fact_ids: Sequence[str], reason: str, *, counts: bool = True) -> list[str]:
    """Facts that were not learned: once more, or given up. `counts`: whether it says something against them.

    Returns the earlier facts that stand until then, where the live weights hold them.
    """
    restored: list[str] = []
    facts = FactRepository(session)
    for fact in facts.by_ids(fact_ids):
        if fact.status != FactStatus.LEARNING:
            continue
        fact.attempts += counts
        facts.drop_written_probes(fact.id)  # what was asked may have been nonsense: it is examined with others
        gives_up = fact.attempts >= MAX_FACT_ATTEMPTS
        advance_fact(fact, to=FactStatus.REJECTED if gives_up else FactStatus.PENDING)
        fact.reason = reason
        if not gives_up:
            restored += _restore_superseded(session, fact)
    return restored


def _restore_superseded(session: Session, newer: Fact) -> list[str]:
    held = held_by_live(session, SpaceRepository(session).by_id(newer.space_id))
    replaced = [old for old in FactRepository(session).superseded_by(newer) if old.id in held]
    for old in replaced:
        advance_fact(old, to=FactStatus.LIVE)
        old.reason = None
    return [old.id for old in replaced]
