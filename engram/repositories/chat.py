"""Store conversations and messages, and find those whose facts are still to be extracted."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from engram.ids import new_id
from engram.lifecycle import ExtractionStatus
from engram.models import Conversation, Message


class ChatRepository:
    def __init__(self, session: Session) -> None:
        self.session = session

    def conversation_by_tail(self, space_id: str, tail_digest: str) -> Conversation | None:
        query = select(Conversation).where(
            Conversation.space_id == space_id, Conversation.tail_digest == tail_digest
        )
        return self.session.scalar(query.order_by(Conversation.id.desc()).limit(1))

    def add_conversation(self, space_id: str, tail_digest: str) -> Conversation:
        conversation = Conversation(id=new_id("conv"), space_id=space_id, tail_digest=tail_digest)
        self.session.add(conversation)
        self.session.flush()
        return conversation

    def add_message(
        self, conversation: Conversation, *, role: str, content: str, adapter_version: int | None = None
    ) -> Message:
        """A user message is queued for extraction; no other role ever is."""
        message = Message(
            id=new_id("msg"),
            conversation_id=conversation.id,
            space_id=conversation.space_id,
            role=role,
            content=content,
            adapter_version=adapter_version,
            extraction=ExtractionStatus.PENDING if role == "user" else None,
        )
        self.session.add(message)
        self.session.flush()
        return message

    def message(self, message_id: str) -> Message | None:
        return self.session.get(Message, message_id)

    def awaiting_extraction(self, *, limit: int = 100) -> Sequence[str]:
        """Ids of user messages not yet extracted, oldest first."""
        query = select(Message.id).where(Message.extraction == ExtractionStatus.PENDING)
        return self.session.scalars(query.order_by(Message.id).limit(limit)).all()
