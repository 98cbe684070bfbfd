"""Memory spaces: one ledger and one chain of adapter versions each."""

from datetime import datetime

from sqlalchemy import UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engram.models.base import Base, created_at_column


class Space(Base):
    """`live_version`, `canary_version` and `previous_version` are the aliases; 0 is the untouched base."""

    __tablename__ = "spaces"
    __table_args__ = (UniqueConstraint("tenant", "name"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    tenant: Mapped[str]
    name: Mapped[str]
    live_version: Mapped[int] = mapped_column(default=0)
    canary_version: Mapped[int | None]
    previous_version: Mapped[int | None]
    created_at: Mapped[datetime] = created_at_column()
