"""Store conversations and messages, and find those whose facts are still to be extracted."""

from collections.abc import Sequence
from datetime import datetime
from hashlib import blake2b

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from engram.ids import new_id
from engram.lifecycle import ExtractionStatus
from engram.models import Conversation, Message


class ChatRepository:
    def __init__(self, session: Session) -> None:
        self.session = session

    def conversations_by_tail(self, space_id: str, tail_digests: Sequence[str]) -> dict[str, Conversation]:
        """The newest conversation of each tail digest that has one."""
        query = select(Conversation).where(
            Conversation.space_id == space_id, Conversation.tail_digest.in_(list(tail_digests))
        )
        return {row.tail_digest: row for row in self.session.scalars(query.order_by(Conversation.id))}

    def add_conversation(self, space_id: str, tail_digest: str) -> Conversation:
        conversation = Conversation(id=new_id("conv"), space_id=space_id, tail_digest=tail_digest)
        self.session.add(conversation)
        self.session.flush()
        return conversation

    def add_message(
        self,
        conversation: Conversation,
        *,
        role: str,
        content: str,
        adapter_version: int | None = None,
        in_scope: bool | None = None,
        extract: bool = True,
    ) -> Message:
        """A user message is queued for extraction unless `extract` is off; no other role ever is."""
        message = Message(
            id=new_id("msg"),
            conversation_id=conversation.id,
            space_id=conversation.space_id,
            role=role,
            content=content,
            adapter_version=adapter_version,
            in_scope=in_scope,
            extraction=ExtractionStatus.PENDING if extract and role == "user" else None,
        )
        self.session.add(message)
        self.session.flush()
        return message

    def conversation(self, conversation_id: str) -> Conversation | None:
        return self.session.get(Conversation, conversation_id)

    def last_user_message(self, conversation_id: str) -> Message | None:
        query = select(Message).where(Message.conversation_id == conversation_id, Message.role == "user")
        return self.session.scalar(query.order_by(Message.id.desc()).limit(1))

    def said_before(self, space_id: str, contents: Sequence[str]) -> set[str]:
        """Which of the texts a user message of this space already has, word for word."""
        query = select(Message.content).where(
            Message.space_id == space_id, Message.role == "user", Message.content.in_(list(contents))
        )
        return set(self.session.scalars(query))

    def erased_before(self, space_id: str, contents: Sequence[str]) -> set[str]:
        """Which of the texts a message of this space had until it was erased."""
        by_digest = {_digest(space_id, content): content for content in contents}
        query = select(Message.erased_digest).where(
            Message.space_id == space_id, Message.erased_digest.in_(list(by_digest))
        )
        return {by_digest[digest] for digest in self.session.scalars(query) if digest}

    def message(self, message_id: str) -> Message | None:
        return self.session.get(Message, message_id)

    def erase_exchange(self, message_id: str) -> None:
        """Empty a message and the answer that followed it. That they were said stays.

        Of the message a digest is kept: a client that sends an old history again must not have it learned again.
        """
        said = self.message(message_id)
        if said is None or said.erased_digest:
            return
        said.content, said.erased_digest = "", _digest(said.space_id, said.content)
        later = select(Message).where(Message.conversation_id == said.conversation_id, Message.id > said.id)
        following = self.session.scalar(later.order_by(Message.id).limit(1))
        if following is not None and following.role == "assistant":
            following.content = ""

    def awaiting_extraction(self, *, limit: int = 100) -> Sequence[str]:
        """Ids of user messages not yet extracted, oldest first."""
        query = select(Message.id).where(Message.extraction == ExtractionStatus.PENDING)
        return self.session.scalars(query.order_by(Message.id).limit(limit)).all()

    def is_quiet_since(self, moment: datetime) -> bool:
        """Whether nobody has said anything since then."""
        return self.session.scalar(select(Message.id).where(Message.created_at > moment).limit(1)) is None

    def count_awaiting_extraction(self) -> int:
        query = select(func.count()).where(Message.extraction == ExtractionStatus.PENDING)
        return self.session.scalar(query) or 0


def _digest(space_id: str, content: str) -> str:
    """The same text has another one in another space."""
    return blake2b(content.encode(), digest_size=16, key=space_id.encode()[:64]).hexdigest()
