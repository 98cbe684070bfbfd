"""Bodies of the adapter endpoints."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, Field

from engram.models import AdapterVersion, Space
from server.schemas import ReasonBody

MAX_VERSION = 2**31 - 1

VersionNumber = Annotated[int, Field(ge=0, le=MAX_VERSION)]


class Rollback(ReasonBody):
    to: VersionNumber | None = None


class AdapterBody(BaseModel):
    """`aliases` are those of live, canary and previous that point here."""

    space: str
    version: int
    status: str
    reason: str | None
    parent_version: int
    lora_name: str
    digest: str
    run_id: str
    aliases: list[str]
    created_at: datetime

    @classmethod
    def of(cls, row: AdapterVersion, space: Space) -> "AdapterBody":
        return cls(**adapter_columns(row, space))


class HeldFact(BaseModel):
    """`shard` is the version whose weights hold it."""

    id: str
    statement: str
    status: str
    shard: int


class LivePeriodBody(BaseModel):
    actor: str
    reason: str
    from_at: datetime
    until_at: datetime | None


class AdapterDetail(AdapterBody):
    """Where a version comes from: what it was taught, how it was examined, who made it live."""

    facts: list[HeldFact]
    strategy: str | None
    notes: list[Any]
    settings: dict[str, Any]
    report: dict[str, Any] | None
    decision: dict[str, Any] | None
    live_periods: list[LivePeriodBody]


class SpaceBody(BaseModel):
    """A space's aliases after they moved."""

    space: str
    live_version: int
    previous_version: int | None
    canary_version: int | None

    @classmethod
    def of(cls, space: Space) -> "SpaceBody":
        return cls(
            space=space.name,
            live_version=space.live_version,
            previous_version=space.previous_version,
            canary_version=space.canary_version,
        )


def adapter_columns(row: AdapterVersion, space: Space) -> dict[str, Any]:
    aliases = {"live": space.live_version, "canary": space.canary_version, "previous": space.previous_version}
    own = {name: getattr(row, name) for name in AdapterBody.model_fields if name not in ("space", "aliases")}
    return {
        **own,
        "space": space.name,
        "aliases": [name for name, version in aliases.items() if version == row.version],
    }
