"""Learning runs: queue, claim, watch and end them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, or_, select, update
from sqlalchemy.orm import Session

from engram.errors import NotFound
from engram.ids import new_id
from engram.lifecycle import ACTIVE_RUN, RunKind, RunStatus, advance_run
from engram.models import Candidate, LearningRun, RunEvent, RunFact, Space
from engram.models.base import utc_now
from engram.repositories.pages import Page, newest_first

GAVE_WAY = "gave way to something that a user waits for; it is due again once nothing is pending"


class RunRepository:
    def __init__(self, session: Session) -> None:
        self.session = session

    def get(self, tenant: str, run_id: str) -> LearningRun:
        """Raises NotFound, also for another tenant's run."""
        query = select(LearningRun).join(Space, Space.id == LearningRun.space_id)
        if run := self.session.scalar(query.where(LearningRun.id == run_id, Space.tenant == tenant)):
            return run
        raise NotFound(f"learning run {run_id!r} does not exist", param="id")

    def by_id(self, run_id: str) -> LearningRun:
        run = self.session.get(LearningRun, run_id)
        if run is None:
            raise NotFound(f"learning run {run_id!r} does not exist", param="id")
        return run

    def page(
        self, space_ids: Iterable[str], *, status: str | None, limit: int, cursor: str | None
    ) -> Page[LearningRun]:
        query = select(LearningRun).where(LearningRun.space_id.in_(list(space_ids)))
        if status:
            query = query.where(LearningRun.status == status)
        return newest_first(self.session, query, id_column=LearningRun.id, limit=limit, cursor=cursor)

    def active(self, space_id: str) -> LearningRun | None:
        """The unfinished run of a space; there is at most one."""
        return self.session.scalar(select(LearningRun).where(LearningRun.active_space_id == space_id))

    def unfinished(self) -> list[LearningRun]:
        return list(self.session.scalars(select(LearningRun).where(LearningRun.status.in_(ACTIVE_RUN))))

    def spaces_to_consolidate(self, *, after_runs: int) -> list[str]:
        """Ids of spaces with so many published learning runs since they were last consolidated.

        A consolidation that gave way does not count.
        """
        consolidated = (
            select(LearningRun.space_id, func.max(LearningRun.created_at).label("at"))
            .where(LearningRun.kind == RunKind.CONSOLIDATE)
            .where(or_(LearningRun.error.is_(None), LearningRun.error != GAVE_WAY))
            .group_by(LearningRun.space_id)
            .subquery()
        )
        query = (
            select(LearningRun.space_id)
            .outerjoin(consolidated, consolidated.c.space_id == LearningRun.space_id)
            .where(LearningRun.kind == RunKind.LEARN, LearningRun.status == RunStatus.PUBLISHED)
            .where(or_(consolidated.c.at.is_(None), LearningRun.created_at > consolidated.c.at))
            .group_by(LearningRun.space_id)
            .having(func.count() >= after_runs)
            .order_by(LearningRun.space_id)
        )
        return list(self.session.scalars(query))

    def queue(self, space_id: str, fact_ids: Iterable[str], *, kind: RunKind = RunKind.LEARN) -> LearningRun:
        """Start a run's record. The unique `active_space_id` refuses a second unfinished one."""
        run = LearningRun(
            id=new_id("run"),
            space_id=space_id,
            active_space_id=space_id,
            kind=kind.value,
            status=RunStatus.QUEUED.value,
        )
        self.session.add(run)
        self.session.flush()
        self.session.add_all(RunFact(run_id=run.id, fact_id=fact_id) for fact_id in fact_ids)
        self.session.flush()
        return run

    def claim(self, run_id: str, *, stale_before: datetime) -> bool:
        """Take a run that is queued, or running without a heartbeat since `stale_before`. False: someone has it."""
        now = utc_now()
        free = or_(
            LearningRun.status == RunStatus.QUEUED,
            (LearningRun.status == RunStatus.RUNNING) & (LearningRun.heartbeat_at < stale_before),
        )
        claimed = self.session.execute(
            update(LearningRun)
            .where(LearningRun.id == run_id, free)
            .values(status=RunStatus.RUNNING, heartbeat_at=now, attempts=LearningRun.attempts + 1)
            .execution_options(synchronize_session=False)
        )
        if not claimed.rowcount:  # type: ignore[attr-defined]
            return False
        self.session.execute(
            update(LearningRun).where(LearningRun.id == run_id, LearningRun.started_at.is_(None)).values(started_at=now)
        )
        return True

    def heartbeat(self, run_id: str) -> None:
        self.session.execute(update(LearningRun).where(LearningRun.id == run_id).values(heartbeat_at=utc_now()))

    def finish(self, run: LearningRun, *, to: RunStatus, error: str | None = None) -> None:
        """End a run and free its space for the next one."""
        advance_run(run, to=to)
        run.finished_at, run.active_space_id, run.error, run.stage = utc_now(), None, error, None

    def fact_ids(self, run_id: str) -> list[str]:
        return list(self.session.scalars(select(RunFact.fact_id).where(RunFact.run_id == run_id)))

    def candidates(self, run_id: str) -> list[Candidate]:
        query = select(Candidate).where(Candidate.run_id == run_id).order_by(Candidate.index)
        return list(self.session.scalars(query))

    def replace_candidates(self, run_id: str, candidates: Iterable[Candidate]) -> None:
        self.session.execute(delete(Candidate).where(Candidate.run_id == run_id))
        self.session.add_all(candidates)

    def add_event(self, run_id: str, event: str, data: dict[str, Any]) -> None:
        self.session.add(RunEvent(id=new_id("evt"), run_id=run_id, event=event, data=data))

    def count_by_status(self) -> dict[str, int]:
        rows = self.session.execute(select(LearningRun.status, func.count()).group_by(LearningRun.status))
        return dict(rows.all())

    def events_after(self, run_id: str, cursor: str = "") -> list[RunEvent]:
        query = select(RunEvent).where(RunEvent.run_id == run_id, RunEvent.id > cursor).order_by(RunEvent.id)
        return list(self.session.scalars(query))
