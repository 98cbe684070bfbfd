"""Adapter versions: immutable trained LoRAs, the facts each holds, and when each was live."""

from datetime import datetime

from sqlalchemy import ForeignKey, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from engram.models.base import Base, created_at_column


class AdapterVersion(Base):
    """`lora_name` and `path` are unique for ever: vLLM's prefix cache is keyed by them.

    Its weights are one shard of what the version knows; earlier versions' weights are the others (`AdapterFact`).
    """

    __tablename__ = "adapter_versions"
    __table_args__ = (UniqueConstraint("space_id", "version"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    space_id: Mapped[str] = mapped_column(ForeignKey("spaces.id"), index=True)
    version: Mapped[int]
    parent_version: Mapped[int]
    status: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str | None]
    lora_name: Mapped[str] = mapped_column(unique=True)
    path: Mapped[str] = mapped_column(unique=True)
    digest: Mapped[str]
    run_id: Mapped[str] = mapped_column(ForeignKey("learning_runs.id"), unique=True)
    candidate_id: Mapped[str] = mapped_column(ForeignKey("candidates.id"))
    created_at: Mapped[datetime] = created_at_column()


class AdapterFact(Base):
    """All facts a version holds. `shard`: the version whose weights hold the fact; this one, or an earlier one."""

    __tablename__ = "adapter_facts"

    version_id: Mapped[str] = mapped_column(ForeignKey("adapter_versions.id"), primary_key=True)
    fact_id: Mapped[str] = mapped_column(ForeignKey("facts.id", ondelete="CASCADE"), primary_key=True)
    shard: Mapped[int]


class LivePeriod(Base):
    """One stretch in which a version was live, and who made it so. `until_at` is null for the current one."""

    __tablename__ = "live_periods"

    id: Mapped[str] = mapped_column(primary_key=True)
    space_id: Mapped[str] = mapped_column(ForeignKey("spaces.id"), index=True)
    version: Mapped[int]
    actor: Mapped[str]
    reason: Mapped[str]
    from_at: Mapped[datetime] = created_at_column()
    until_at: Mapped[datetime | None]
