"""`/v1/audit`: who changed what, when and why."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel

from engram.models import AuditEvent
from engram.repositories import OpsRepository, SpaceRepository
from server.deps import CursorQuery, DatabaseDep, LimitQuery, OpsCallerDep
from server.schemas import ListBody

router = APIRouter()


class AuditBody(BaseModel):
    id: str
    space: str | None
    actor: str
    action: str
    subject: str
    old: dict[str, Any] | None
    new: dict[str, Any] | None
    reason: str | None
    created_at: datetime

    @classmethod
    def of(cls, row: AuditEvent, space: str | None) -> "AuditBody":
        own = {name: getattr(row, name) for name in cls.model_fields if name != "space"}
        return cls(**own, space=space)


@router.get("/v1/audit")
def list_audit(
    caller: OpsCallerDep, database: DatabaseDep, limit: LimitQuery = 50, cursor: CursorQuery = None
) -> ListBody[AuditBody]:
    with database.read() as session:
        names = {space.id: space.name for space in SpaceRepository(session).all(caller.tenant)}
        page = OpsRepository(session).audit(caller.tenant, limit=limit, cursor=cursor)
        return ListBody(data=[AuditBody.of(row, names.get(row.space_id or "")) for row in page.rows], next=page.next)
