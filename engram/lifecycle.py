"""Decide which status may follow which. The one door every status moves through. Pure: no I/O."""

from enum import StrEnum
from typing import Any, Protocol, TypeVar

from engram.errors import Conflict


class FactStatus(StrEnum):
    PENDING = "pending"
    LEARNING = "learning"
    LIVE = "live"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    FORGETTING = "forgetting"
    FORGOTTEN = "forgotten"


class RunStatus(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    PUBLISHED = "published"
    REJECTED = "rejected"
    FAILED = "failed"


class RunKind(StrEnum):
    LEARN = "learn"  # facts that are pending
    REBUILD = "rebuild"  # without what is to be forgotten, or was replaced
    CONSOLIDATE = "consolidate"  # from the base, all that is live


class AdapterStatus(StrEnum):
    REGISTERED = "registered"  # files verified and in place
    LOADED = "loaded"  # every replica has it, and vLLM answered its probes
    CANARY = "canary"
    LIVE = "live"
    RETIRED = "retired"  # was live, can be again
    FAILED = "failed"  # never went live, and says why
    WITHDRAWN = "withdrawn"  # must not be served again


class ExtractionStatus(StrEnum):
    PENDING = "pending"
    DONE = "done"
    FAILED = "failed"


S = TypeVar("S", bound=StrEnum)

ACTIVE_RUN = (RunStatus.QUEUED, RunStatus.RUNNING)

_FACT: dict[FactStatus, set[FactStatus]] = {
    FactStatus.PENDING: {
        FactStatus.LEARNING,
        FactStatus.LIVE,
        FactStatus.REJECTED,
        FactStatus.SUPERSEDED,
        FactStatus.FORGOTTEN,
    },
    FactStatus.LEARNING: {
        FactStatus.LIVE,
        FactStatus.PENDING,
        FactStatus.REJECTED,
        FactStatus.SUPERSEDED,
        FactStatus.FORGETTING,
    },
    FactStatus.LIVE: {FactStatus.SUPERSEDED, FactStatus.FORGETTING, FactStatus.REJECTED, FactStatus.PENDING},
    FactStatus.REJECTED: {FactStatus.PENDING, FactStatus.LIVE, FactStatus.FORGOTTEN, FactStatus.SUPERSEDED},
    FactStatus.SUPERSEDED: {FactStatus.LIVE, FactStatus.FORGETTING, FactStatus.FORGOTTEN},
    FactStatus.FORGETTING: {FactStatus.FORGOTTEN},
    FactStatus.FORGOTTEN: set(),
}

_RUN: dict[RunStatus, set[RunStatus]] = {
    RunStatus.QUEUED: {RunStatus.RUNNING, RunStatus.FAILED},
    RunStatus.RUNNING: {RunStatus.PUBLISHED, RunStatus.REJECTED, RunStatus.FAILED, RunStatus.QUEUED},
    RunStatus.PUBLISHED: set(),
    RunStatus.REJECTED: set(),
    RunStatus.FAILED: set(),
}

_ADAPTER: dict[AdapterStatus, set[AdapterStatus]] = {
    AdapterStatus.REGISTERED: {AdapterStatus.LOADED, AdapterStatus.FAILED, AdapterStatus.WITHDRAWN},
    AdapterStatus.LOADED: {
        AdapterStatus.CANARY,
        AdapterStatus.LIVE,
        AdapterStatus.FAILED,
        AdapterStatus.WITHDRAWN,
    },
    AdapterStatus.CANARY: {AdapterStatus.LIVE, AdapterStatus.FAILED, AdapterStatus.WITHDRAWN},
    AdapterStatus.LIVE: {AdapterStatus.RETIRED, AdapterStatus.WITHDRAWN},
    AdapterStatus.RETIRED: {AdapterStatus.LIVE, AdapterStatus.WITHDRAWN},
    AdapterStatus.FAILED: {AdapterStatus.WITHDRAWN},
    AdapterStatus.WITHDRAWN: set(),
}


class HasStatus(Protocol):
    """Any row with a `status` column."""

    status: Any


def _advance(kind: type[S], table: dict[S, set[S]], row: HasStatus, to: S) -> None:
    current = kind(row.status)
    if current == to:
        return
    if to not in table[current]:
        raise Conflict(f"a {kind.__name__} cannot go from {current.value} to {to.value}")
    row.status = to.value


def advance_fact(row: HasStatus, *, to: FactStatus) -> None:
    """Move a fact to `to`; a no-op if it is there. Raises Conflict if that move does not exist."""
    _advance(FactStatus, _FACT, row, to)


def advance_run(row: HasStatus, *, to: RunStatus) -> None:
    """Move a learning run to `to`; a no-op if it is there. Raises Conflict if that move does not exist."""
    _advance(RunStatus, _RUN, row, to)


def advance_adapter(row: HasStatus, *, to: AdapterStatus) -> None:
    """Move an adapter version to `to`; a no-op if it is there. Raises Conflict if that move does not exist."""
    _advance(AdapterStatus, _ADAPTER, row, to)
