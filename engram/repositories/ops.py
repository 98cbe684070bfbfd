"""API keys and the audit log."""

import hashlib
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from engram.ids import new_id
from engram.models import ApiKey, AuditEvent
from engram.repositories.pages import Page, newest_first


class OpsRepository:
    def __init__(self, session: Session) -> None:
        self.session = session

    def key(self, secret: str) -> ApiKey | None:
        """The key row of a secret, unless it was revoked."""
        query = select(ApiKey).where(ApiKey.key_sha256 == digest_key(secret), ApiKey.revoked_at.is_(None))
        return self.session.scalar(query)

    def add_key(self, *, tenant: str, name: str, secret: str, scopes: list[str]) -> ApiKey:
        key = ApiKey(id=new_id("key"), tenant=tenant, name=name, key_sha256=digest_key(secret), scopes=scopes)
        self.session.add(key)
        return key

    def record(
        self,
        *,
        tenant: str,
        actor: str,
        action: str,
        subject: str,
        space_id: str | None = None,
        old: dict[str, Any] | None = None,
        new: dict[str, Any] | None = None,
        reason: str | None = None,
    ) -> None:
        """Write down who changed what, from what, to what, and why."""
        event = AuditEvent(
            id=new_id("audit"),
            tenant=tenant,
            space_id=space_id,
            actor=actor,
            action=action,
            subject=subject,
            old=old,
            new=new,
            reason=reason,
        )
        self.session.add(event)

    def audit(self, tenant: str, *, limit: int, cursor: str | None) -> Page[AuditEvent]:
        query = select(AuditEvent).where(AuditEvent.tenant == tenant)
        return newest_first(self.session, query, id_column=AuditEvent.id, limit=limit, cursor=cursor)


def digest_key(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
