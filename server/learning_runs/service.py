"""Start a learning run for what is pending, and read runs. Never learns anything itself."""

from sqlalchemy.orm import Session

from engram.errors import Conflict
from engram.lifecycle import FactStatus, RunKind, RunStatus, advance_fact
from engram.models import LearningRun
from engram.repositories import FactRepository, OpsRepository, Page, RunRepository, SpaceRepository
from server.auth import Caller
from server.learning_runs.schemas import CandidateBody, RunBody, RunDetail, run_columns
from server.schemas import ListBody

_NOTHING_TO_DO = {
    RunKind.LEARN: "nothing is pending in this space; tell it something first",
    RunKind.CONSOLIDATE: "nothing is live in this space; there is nothing to consolidate",
}


def start_run(
    session: Session, *, caller: Caller, space_name: str, kind: RunKind, max_facts: int
) -> tuple[LearningRun, bool]:
    """Queue a run for the oldest pending facts, or one that consolidates, and say True; or find the active one: False.

    Raises Conflict if nothing is pending, or nothing live to consolidate.
    """
    spaces = SpaceRepository(session)
    found = spaces.find_listed(caller.tenant, space_name)
    if found is None:
        raise Conflict(_NOTHING_TO_DO[kind], param="space")
    space = spaces.by_id(found.id, lock=True)  # one run a space, however many ask at once
    runs = RunRepository(session)
    if active := runs.active(space.id):
        return active, False
    status = FactStatus.PENDING if kind == RunKind.LEARN else FactStatus.LIVE
    facts = FactRepository(session).with_status(space.id, status, limit=max_facts)
    if not facts:
        raise Conflict(_NOTHING_TO_DO[kind], param="space")
    taken = facts if kind == RunKind.LEARN else []
    for fact in taken:
        advance_fact(fact, to=FactStatus.LEARNING)
    run = runs.queue(space.id, [fact.id for fact in taken], kind=kind)
    OpsRepository(session).record(
        tenant=caller.tenant,
        space_id=space.id,
        actor=caller.actor,
        action="learning_run.queued",
        subject=run.id,
        new={"kind": kind, "facts": [fact.id for fact in taken]},
    )
    return run, True


def list_runs(
    session: Session, *, caller: Caller, space_name: str | None, status: str | None, limit: int, cursor: str | None
) -> ListBody[RunBody]:
    """Runs of one space, or of all the tenant's."""
    spaces = SpaceRepository(session)
    found = [spaces.find_listed(caller.tenant, space_name)] if space_name else spaces.all(caller.tenant)
    names = {space.id: space.name for space in found if space}
    runs = RunRepository(session)
    page: Page[LearningRun] = runs.page(names, status=status, limit=limit, cursor=cursor)
    return ListBody(
        data=[RunBody.of(run, names[run.space_id], runs.fact_ids(run.id)) for run in page.rows], next=page.next
    )


def detail(session: Session, run: LearningRun) -> RunDetail:
    runs = RunRepository(session)
    space = SpaceRepository(session).by_id(run.space_id)
    candidates = [CandidateBody.of(row) for row in runs.candidates(run.id)]
    return RunDetail(**run_columns(run, space.name, runs.fact_ids(run.id)), candidates=candidates)


def is_finished(run: LearningRun) -> bool:
    return run.status in (RunStatus.PUBLISHED, RunStatus.REJECTED, RunStatus.FAILED)
