"""The fact ledger: what users stated, the probes that examine it, the notes that taught it."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey
from sqlalchemy.orm import Mapped, mapped_column

from engram.models.base import Base, created_at_column, utc_now


class Fact(Base):
    """`span_start`/`span_end` are character offsets into the source message.

    `forgetting_proof` counts the probes of a forgotten fact that were answered right: `probes` asked, of the
    version that held it (`recalled_before`), of what serves since (`recalled_after`), and of the base.
    """

    __tablename__ = "facts"

    id: Mapped[str] = mapped_column(primary_key=True)
    space_id: Mapped[str] = mapped_column(ForeignKey("spaces.id"), index=True)
    statement: Mapped[str]
    status: Mapped[str] = mapped_column(index=True)
    reason: Mapped[str | None]
    message_id: Mapped[str | None] = mapped_column(ForeignKey("messages.id"))
    span_start: Mapped[int | None]
    span_end: Mapped[int | None]
    supersedes_id: Mapped[str | None] = mapped_column(ForeignKey("facts.id"))
    live_since_version: Mapped[int | None]
    attempts: Mapped[int] = mapped_column(default=0)
    forgetting_proof: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = created_at_column()
    updated_at: Mapped[datetime] = mapped_column(default=utc_now, onupdate=utc_now)


class Probe(Base):
    """A held-out question. `origin` is `user` (given with the fact) or `author` (written by the model)."""

    __tablename__ = "probes"

    id: Mapped[str] = mapped_column(primary_key=True)
    fact_id: Mapped[str] = mapped_column(ForeignKey("facts.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str]
    origin: Mapped[str]
    question: Mapped[str]
    answers: Mapped[list[Any]]


class Note(Base):
    """A study note of the winning candidate, kept for rehearsal: a prompt and the answer trained on."""

    __tablename__ = "notes"

    id: Mapped[str] = mapped_column(primary_key=True)
    fact_id: Mapped[str] = mapped_column(ForeignKey("facts.id", ondelete="CASCADE"), index=True)
    run_id: Mapped[str] = mapped_column(ForeignKey("learning_runs.id"))
    family: Mapped[str]
    prompt: Mapped[str]
    answer: Mapped[str]
