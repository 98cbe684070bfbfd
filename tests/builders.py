"""Rows that tests need, made the way the product makes them."""

from collections.abc import Iterable, Mapping

from sqlalchemy.orm import Session

from engram.ids import new_id
from engram.lifecycle import AdapterStatus, FactStatus, RunStatus, advance_adapter, advance_fact
from engram.models import AdapterVersion, Candidate, Fact, LearningRun, Space
from engram.repositories import AdapterRepository, FactRepository, RunRepository
from engram.routing import OWN_SHARD


def learning_fact(session: Session, space: Space, statement: str) -> Fact:
    """A fact that a run is learning."""
    fact = FactRepository(session).add(space.id, statement)
    advance_fact(fact, to=FactStatus.LEARNING)
    return fact


def finished_run(session: Session, space: Space, fact_ids: Iterable[str] = ()) -> LearningRun:
    runs = RunRepository(session)
    run = runs.queue(space.id, fact_ids)
    run.status = RunStatus.RUNNING.value
    runs.finish(run, to=RunStatus.PUBLISHED)
    session.flush()
    return run


def candidate_of(session: Session, run: LearningRun) -> Candidate:
    candidate = Candidate(id=new_id("cand"), run_id=run.id, index=0, strategy="rewrites", notes=[], settings={})
    session.add(candidate)
    session.flush()
    return candidate


def adapter_version(
    session: Session,
    space: Space,
    *,
    fact_ids: Iterable[str] = (),
    elsewhere: Mapping[str, int] | None = None,
    status: AdapterStatus = AdapterStatus.LOADED,
) -> AdapterVersion:
    """The next version of a space, holding `fact_ids` itself and facts `elsewhere` in earlier ones; in `status`."""
    adapters = AdapterRepository(session)
    fact_ids = list(fact_ids)
    version = adapters.next_version(space.id)
    adapter = adapters.register(
        space,
        candidate_of(session, finished_run(session, space, fact_ids)),
        version=version,
        path=f"/adapters/{space.id}/{version}",
        digest=f"{version:064x}",
        held={**dict.fromkeys(fact_ids, OWN_SHARD), **(elsewhere or {})},
    )
    if status is not AdapterStatus.REGISTERED:
        if status not in (AdapterStatus.FAILED, AdapterStatus.WITHDRAWN):
            advance_adapter(adapter, to=AdapterStatus.LOADED)
        if status is AdapterStatus.RETIRED:
            advance_adapter(adapter, to=AdapterStatus.LIVE)
        advance_adapter(adapter, to=status)
    session.flush()
    return adapter
