"""Bodies of the learning-run endpoints."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from engram.lifecycle import RunKind
from engram.models import Candidate, LearningRun
from engram.repositories.spaces import DEFAULT_SPACE
from server.schemas import RequestBody, SpaceName


class NewRun(RequestBody):
    """`learn` teaches what is pending; `consolidate` trains all that is live once more, from the base."""

    space: SpaceName = DEFAULT_SPACE
    kind: Literal[RunKind.LEARN, RunKind.CONSOLIDATE] = RunKind.LEARN


class CandidateBody(BaseModel):
    """One self-edit: its notes, the settings it chose, how it was examined and what the gate said."""

    id: str
    index: int
    strategy: str
    notes: list[Any]
    settings: dict[str, Any]
    report: dict[str, Any] | None
    decision: dict[str, Any] | None
    created_at: datetime

    @classmethod
    def of(cls, row: Candidate) -> "CandidateBody":
        return cls(**{name: getattr(row, name) for name in cls.model_fields})


class RunBody(BaseModel):
    """`seconds` maps each stage to its duration; `stage` is the one it is in, or null."""

    id: str
    space: str
    kind: str
    status: str
    stage: str | None
    parent_version: int | None
    published_version: int | None
    attempts: int
    decision: dict[str, Any] | None
    seconds: dict[str, Any]
    error: str | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    fact_ids: list[str]

    @classmethod
    def of(cls, run: LearningRun, space: str, fact_ids: list[str]) -> "RunBody":
        return cls(**run_columns(run, space, fact_ids))


class RunDetail(RunBody):
    candidates: list[CandidateBody]


def run_columns(run: LearningRun, space: str, fact_ids: list[str]) -> dict[str, Any]:
    own = {name: getattr(run, name) for name in RunBody.model_fields if name not in ("space", "fact_ids")}
    return {**own, "space": space, "fact_ids": sorted(fact_ids)}
