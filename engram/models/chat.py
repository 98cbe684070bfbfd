"""Conversations and their messages, with the adapter version that answered."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index
from sqlalchemy.orm import Mapped, mapped_column

from engram.models.base import Base, created_at_column


class Conversation(Base):
    """`tail_digest` is the digest of the whole transcript: a request whose history has it continues here."""

    __tablename__ = "conversations"
    __table_args__ = (Index(None, "space_id", "tail_digest"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    space_id: Mapped[str] = mapped_column(ForeignKey("spaces.id"))
    tail_digest: Mapped[str]
    created_at: Mapped[datetime] = created_at_column()


class Message(Base):
    """`extraction` is null for what is never extracted, else pending, done or failed.

    `in_scope`: whether the version's weights gave this answer, or the base for it; null where the base was asked.
    `erased_digest`: of the text that was erased, by which it is known when a client sends its history again.
    """

    __tablename__ = "messages"

    id: Mapped[str] = mapped_column(primary_key=True)
    conversation_id: Mapped[str] = mapped_column(ForeignKey("conversations.id"), index=True)
    space_id: Mapped[str] = mapped_column(ForeignKey("spaces.id"), index=True)
    role: Mapped[str]
    content: Mapped[str]
    erased_digest: Mapped[str | None] = mapped_column(index=True)
    adapter_version: Mapped[int | None]
    in_scope: Mapped[bool | None]
    extraction: Mapped[str | None] = mapped_column(index=True)
    extraction_attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime] = created_at_column()
