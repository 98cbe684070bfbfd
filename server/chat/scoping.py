"""Find out which shard of a version a conversation asks for what it was taught. Reads a version's scope once."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from cachetools import LRUCache, cached

from engram.errors import AdapterRejected, EngineUnavailable
from engram.routing import OWN_SHARD
from scope import decision
from scope.decision import Scope
from server.adapter_files import ServedAdapter
from server.chat.schemas import ChatMessage

if TYPE_CHECKING:
    from scope.encoder import SentenceEncoder

# A question may lean on the one before it (*And how old is she?*).
_LATEST_MESSAGES = 3
# A scope takes some 110 kB for each fact that its version holds, and 2 MB besides.
_MOST_BYTES = 512 << 20


class Scoping:
    """One per process. The sentence encoder is loaded when the first version with a scope is asked, or before."""

    def __init__(self, *, min_margin: float) -> None:
        self._min_margin = min_margin
        kept: LRUCache[str, Scope | None] = LRUCache(_MOST_BYTES, getsizeof=_size)
        self._scope = cached(kept, key=str, lock=threading.Lock())(_read)

    def answering(self, adapter: ServedAdapter, messages: Sequence[ChatMessage]) -> int | None:
        """The shard that answers: that of the latest message that is in scope; None if none is.

        An earlier message's only if the latest one does not name others (*And what about Igor Netto?*).
        Raises EngineUnavailable if the version's files cannot be read.
        """
        asked = [message.text for message in messages if message.role == "user" and message.text][-_LATEST_MESSAGES:]
        scope = self._scope(adapter.path)
        if scope is None or not asked:
            return OWN_SHARD
        shards = scope.answering(asked, _encoder().encode_once(asked), min_margin=self._min_margin)
        not_meant = scope.of_others(asked[-1])
        return next((shard for shard in reversed(shards) if shard is not None and shard not in not_meant), None)


def load_encoder_aside() -> None:
    """Load the sentence encoder beside what the process does else, so that no request waits for it."""
    threading.Thread(target=_encoder, name="scope-encoder", daemon=True).start()


def _read(path: str) -> Scope | None:
    try:
        return decision.load(Path(path))
    except AdapterRejected as error:
        raise EngineUnavailable(f"this version cannot be served now: {error.message}", retry_after_s=30) from error


def _size(scope: Scope | None) -> int:
    return scope.nbytes if scope else 1


_loading = threading.Lock()


def _encoder() -> "SentenceEncoder":
    # torch takes seconds to import, which a server without any version need not spend.
    with _loading:
        import torch

        from scope.encoder import open_encoder

        torch.set_num_threads(1)  # a message is short, and the engine needs the cores
        return open_encoder()
