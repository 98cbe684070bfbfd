"""Every move between statuses, the allowed and the others."""

from itertools import product
from types import SimpleNamespace

import pytest

from engram.errors import Conflict
from engram.lifecycle import (
    AdapterStatus,
    FactStatus,
    RunStatus,
    advance_adapter,
    advance_fact,
    advance_run,
)

FACT_MOVES = {
    "pending": {"learning", "live", "rejected", "superseded", "forgotten"},
    "learning": {"live", "pending", "rejected", "superseded", "forgetting"},
    "live": {"superseded", "forgetting", "rejected", "pending"},
    "rejected": {"pending", "live", "forgotten", "superseded"},
    "superseded": {"live", "forgetting", "forgotten"},
    "forgetting": {"forgotten"},
    "forgotten": set(),
}
RUN_MOVES = {
    "queued": {"running", "failed"},
    "running": {"published", "rejected", "failed", "queued"},
    "published": set(),
    "rejected": set(),
    "failed": set(),
}
ADAPTER_MOVES = {
    "registered": {"loaded", "failed", "withdrawn"},
    "loaded": {"canary", "live", "failed", "withdrawn"},
    "canary": {"live", "failed", "withdrawn"},
    "live": {"retired", "withdrawn"},
    "retired": {"live", "withdrawn"},
    "failed": {"withdrawn"},
    "withdrawn": set(),
}
KINDS = [(advance_fact, FactStatus, FACT_MOVES), (advance_run, RunStatus, RUN_MOVES)]
KINDS += [(advance_adapter, AdapterStatus, ADAPTER_MOVES)]
MOVES = [
    pytest.param(advance, start, to, moves, id=f"{kind.__name__}-{start.value}-{to.value}")
    for advance, kind, moves in KINDS
    for start, to in product(kind, kind)
]


@pytest.mark.parametrize(("advance", "start", "to", "moves"), MOVES)
def test_a_status_moves_exactly_where_it_may(advance, start, to, moves) -> None:
    row = SimpleNamespace(status=start.value)
    if to == start or to.value in moves[start.value]:
        advance(row, to=to)
        assert row.status == to.value
    else:
        with pytest.raises(Conflict, match=f"cannot go from {start.value} to {to.value}"):
            advance(row, to=to)
        assert row.status == start.value


def test_a_status_is_stored_as_a_plain_string() -> None:
    row = SimpleNamespace(status="pending")
    advance_fact(row, to=FactStatus.LEARNING)
    assert type(row.status) is str


def test_an_unknown_status_is_an_error_not_a_move() -> None:
    with pytest.raises(ValueError, match="half-live"):
        advance_adapter(SimpleNamespace(status="half-live"), to=AdapterStatus.LIVE)


@pytest.mark.parametrize("status", [RunStatus.PUBLISHED, RunStatus.REJECTED, RunStatus.FAILED])
def test_a_run_that_ended_stays_ended(status: RunStatus) -> None:
    assert RUN_MOVES[status.value] == set()
