"""Decide which version answers a request and keep what was said. Never talks to the engine.

Both functions are one short transaction each; none is open while tokens stream.
"""

from collections.abc import Sequence, Set
from dataclasses import dataclass, field, replace

from sqlalchemy.orm import Session

from engram.errors import EngineUnavailable, ModelNotFound, NotPermitted
from engram.lifecycle import ExtractionStatus
from engram.models import Conversation, Space
from engram.repositories import AdapterRepository, ChatRepository, SpaceRepository
from engram.repositories.adapters import SERVABLE
from engram.repositories.spaces import DEFAULT_SPACE
from engram.routing import BASE_MODEL, BASE_VERSION, OWN_SHARD, Aliases, ModelRequest, choose_version, parse_model
from server.adapter_files import ServedAdapter
from server.auth import Caller, Scope
from server.chat.schemas import ChatRequest
from server.chat.transcript import EMPTY, Said, beginnings, extend


@dataclass(frozen=True, slots=True)
class Turn:
    """One request, settled: who answers it, and where it is kept.

    `adapter` is the version's own; None for the base. `shard` is the version whose weights answer for it: itself, or an
    earlier one; None for the base, out of scope. `answering`: their adapter.
    """

    model: str
    space: str
    space_id: str
    version: int
    adapter: ServedAdapter | None
    conversation_id: str
    tail: str
    to_extract: tuple[str, ...] = field(default=())
    shard: int | None = None
    answering: ServedAdapter | None = None

    @property
    def in_scope(self) -> bool | None:
        """None where the base was asked."""
        return self.shard is not None if self.adapter else None

    @property
    def engine_model(self) -> str:
        return self.answering.lora_name if self.answering else BASE_MODEL

    @property
    def note(self) -> dict[str, object]:
        """The body field `engram` of the answer."""
        return {"space": self.space, "adapter_version": self.version, "facts_in_context": []}

    @property
    def scope(self) -> str | None:
        """`in` or `out`; None where the base was asked."""
        return None if self.in_scope is None else "in" if self.in_scope else "out"

    @property
    def headers(self) -> dict[str, str]:
        scope = {"X-Engram-Scope": self.scope} if self.scope else {}
        shard = {"X-Engram-Shard": str(self.shard)} if self.in_scope else {}
        return {"X-Engram-Space": self.space, "X-Engram-Adapter-Version": str(self.version), **scope, **shard}


def begin_turn(session: Session, request: ChatRequest, *, caller: Caller, canary_share: float) -> Turn:
    """Choose the version, once, and store what the user newly said.

    Raises ModelNotFound for a model or version that cannot answer, NotPermitted for a pinned
    version without the scope `ops`.
    """
    asked = parse_model(request.model)
    if asked.pinned is not None and not asked.bypasses_memory and not caller.may(Scope.OPS):
        raise NotPermitted("pinning a version needs a key with the scope 'ops'", param="model")
    space = SpaceRepository(session).get_or_create(caller.tenant, request.user or DEFAULT_SPACE)
    transcript = [Said(message.role, message.text) for message in request.messages]
    conversation, to_extract = _keep(session, space, transcript, extract=not asked.bypasses_memory)
    version, adapter = _choose(session, space, asked, canary_share=canary_share, key=conversation.id)
    return Turn(
        model=request.model,
        space=space.name,
        space_id=space.id,
        version=version,
        adapter=adapter,
        conversation_id=conversation.id,
        tail=conversation.tail_digest,
        to_extract=tuple(to_extract),
    )


def answered_by(session: Session, turn: Turn, shard: int | None) -> Turn:
    """The turn once it is known which shard of its version answers.

    The shard may be of a version that was withdrawn, if that was for another of its shards: this version would have
    been, too, were it for this one. Raises EngineUnavailable for a shard that there is not.
    """
    if shard is None:
        return turn
    if shard in (OWN_SHARD, turn.version):
        return replace(turn, shard=turn.version, answering=turn.adapter)
    row = AdapterRepository(session).find(turn.space_id, shard)
    if row is None:
        raise EngineUnavailable(f"version {turn.version} lacks its shard {shard}; roll back to another version")
    return replace(turn, shard=shard, answering=ServedAdapter.of(row))


def end_turn(session: Session, turn: Turn, *, text: str, heard: bool) -> None:
    """Store the answer. `heard` is False for one cut off by the engine: the client will ask again."""
    chats = ChatRepository(session)
    conversation = chats.conversation(turn.conversation_id)
    if conversation is None:
        return
    chats.add_message(
        conversation, role="assistant", content=text, adapter_version=turn.version, in_scope=turn.in_scope
    )
    if heard:
        conversation.tail_digest = extend(turn.tail, Said("assistant", text))


def _choose(
    session: Session, space: Space, asked: ModelRequest, *, canary_share: float, key: str
) -> tuple[int, ServedAdapter | None]:
    aliases = Aliases(live=space.live_version, canary=space.canary_version)
    version = choose_version(asked, aliases=aliases, canary_share=canary_share, key=key)
    if version == BASE_VERSION:
        return version, None
    adapter = AdapterRepository(session).find(space.id, version)
    if adapter is None:
        raise ModelNotFound(f"the space {space.name!r} has no version {version}", param="model")
    if adapter.status not in SERVABLE:
        raise ModelNotFound(f"version {version} of {space.name!r} is {adapter.status}, not served", param="model")
    return version, ServedAdapter.of(adapter)


def _keep(
    session: Session, space: Space, transcript: Sequence[Said], *, extract: bool
) -> tuple[Conversation, list[str]]:
    """Continue the conversation that the transcript begins with, or start one. Returns ids to extract."""
    chats = ChatRepository(session)
    parts = beginnings(transcript)
    whole = parts[0][0] if parts else EMPTY
    known = chats.conversations_by_tail(space.id, [digest for digest, _ in parts])
    if whole in known and (asked_again := _unanswered(chats, known[whole], extract=extract)) is not None:
        return known[whole], asked_again
    for digest, rest in parts[1:]:
        if digest in known:
            known[digest].tail_digest = whole
            return known[digest], _add(chats, known[digest], rest, extract=extract)
    conversation = chats.add_conversation(space.id, whole)
    history = [said.text for said in transcript[:-1] if said.role == "user"]
    repeated, erased = chats.said_before(space.id, history), chats.erased_before(space.id, history)
    return conversation, _add(chats, conversation, transcript, extract=extract, repeated=repeated, erased=erased)


def _unanswered(chats: ChatRepository, conversation: Conversation, *, extract: bool) -> list[str] | None:
    """A request sent again after its answer failed stores nothing twice. None if there is nothing unanswered."""
    last = chats.last_user_message(conversation.id)
    if last is None:
        return None
    if extract and last.extraction is None:  # first sent past memory, now through it
        last.extraction = ExtractionStatus.PENDING
    return [last.id] if last.extraction == ExtractionStatus.PENDING else []


def _add(
    chats: ChatRepository,
    conversation: Conversation,
    said: Sequence[Said],
    *,
    extract: bool,
    repeated: Set[str] = frozenset(),
    erased: Set[str] = frozenset(),
) -> list[str]:
    """Store the user's messages. One of an unknown history that was said before is not extracted again; of one that
    was erased no word is stored."""
    added = []
    for number, one in enumerate(said):
        if one.role == "user":
            is_last = number == len(said) - 1
            new = is_last or one.text not in repeated | erased
            content = "" if one.text in erased and not is_last else one.text
            message = chats.add_message(conversation, role="user", content=content, extract=extract and new)
            added += [message.id] if message.extraction else []
    return added
