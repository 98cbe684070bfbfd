"""Learning runs, their candidates and the progress they report."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from engram.models.base import Base, created_at_column


class LearningRun(Base):
    """`active_space_id` is the space while the run is unfinished, else null: unique, so one run a space."""

    __tablename__ = "learning_runs"

    id: Mapped[str] = mapped_column(primary_key=True)
    space_id: Mapped[str] = mapped_column(ForeignKey("spaces.id"), index=True)
    active_space_id: Mapped[str | None] = mapped_column(unique=True)
    kind: Mapped[str] = mapped_column(default="learn")
    status: Mapped[str] = mapped_column(index=True)
    stage: Mapped[str | None]
    parent_version: Mapped[int | None]
    published_version: Mapped[int | None]
    attempts: Mapped[int] = mapped_column(default=0)
    decision: Mapped[dict[str, Any] | None]
    seconds: Mapped[dict[str, Any]] = mapped_column(default=dict)
    error: Mapped[str | None]
    created_at: Mapped[datetime] = created_at_column()
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    heartbeat_at: Mapped[datetime | None]


class RunFact(Base):
    __tablename__ = "run_facts"

    run_id: Mapped[str] = mapped_column(ForeignKey("learning_runs.id"), primary_key=True)
    fact_id: Mapped[str] = mapped_column(ForeignKey("facts.id", ondelete="CASCADE"), primary_key=True)


class Candidate(Base):
    """One self-edit and the adapter trained from it. `notes` is a list of {fact_id, family, prompt, answer}."""

    __tablename__ = "candidates"

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("learning_runs.id"), index=True)
    index: Mapped[int]
    strategy: Mapped[str]
    notes: Mapped[list[Any]]
    settings: Mapped[dict[str, Any]]
    report: Mapped[dict[str, Any] | None]
    decision: Mapped[dict[str, Any] | None]
    path: Mapped[str | None]
    created_at: Mapped[datetime] = created_at_column()


class RunEvent(Base):
    """Progress of a run, in order of id, for the event stream."""

    __tablename__ = "run_events"

    id: Mapped[str] = mapped_column(primary_key=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("learning_runs.id"), index=True)
    event: Mapped[str]
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime] = created_at_column()
