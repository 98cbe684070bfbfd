"""Decide which adapter version answers a chat request. Pure: no I/O."""

import hashlib
import re
from dataclasses import dataclass

from engram.errors import InvalidRequest, ModelNotFound

LIVE_MODEL = "engram"
BASE_MODEL = "base"
BASE_VERSION = 0
# The shard that a version's own weights are; the others are numbered by the versions whose weights they are.
OWN_SHARD = 0

_PINNED = re.compile(r"engram@(0|[1-9][0-9]{0,8})", re.ASCII)
_SPACE_NAME = re.compile(r"[A-Za-z0-9._@-]{1,128}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Aliases:
    """A space's aliases at one moment; 0 is the base."""

    live: int
    canary: int | None = None


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """What the `model` field asks for. `pinned` is None for the live version."""

    pinned: int | None
    bypasses_memory: bool = False


def parse_model(model: str) -> ModelRequest:
    """Read `engram`, `engram@7` or `base`. Raises ModelNotFound for anything else."""
    if model == LIVE_MODEL:
        return ModelRequest(pinned=None)
    if model == BASE_MODEL:
        return ModelRequest(pinned=BASE_VERSION, bypasses_memory=True)
    if match := _PINNED.fullmatch(model):
        return ModelRequest(pinned=int(match[1]))
    raise ModelNotFound(f"model {model[:80]!r} does not exist; use engram, engram@<version> or base", param="model")


def choose_version(request: ModelRequest, *, aliases: Aliases, canary_share: float, key: str) -> int:
    """The version that answers. `key` places a conversation on one side of a canary for its whole length."""
    if request.pinned is not None:
        return request.pinned
    if aliases.canary is not None and _share_of(key) < canary_share:
        return aliases.canary
    return aliases.live


def check_space_name(name: str, *, param: str = "user") -> str:
    """Return `name` if it may name a space. Raises InvalidRequest if not."""
    if not _SPACE_NAME.fullmatch(name):
        raise InvalidRequest("a space name has 1 to 128 characters out of letters, digits, . _ - @", param=param)
    return name


def _share_of(key: str) -> float:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8]) / 2**64
