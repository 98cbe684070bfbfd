"""Bodies of the fact endpoints."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from engram.grading import normalise
from engram.models import Fact, Probe
from engram.repositories.spaces import DEFAULT_SPACE
from server.facts.probe_check import GivenProbe
from server.schemas import RequestBody, SpaceName

_MOST_WORDS = 300


def _check_statement(statement: str) -> str:
    if len(statement.split()) > _MOST_WORDS:
        raise ValueError(f"a statement has at most {_MOST_WORDS} words; state one fact at a time")
    if not normalise(statement):
        raise ValueError("a statement needs words")
    return statement


def _check_words(text: str) -> str:
    if not normalise(text):
        raise ValueError("text without words")
    return text


Statement = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=2000),
    AfterValidator(_check_statement),
]


class ProbeBody(RequestBody):
    question: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]
    answer: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200), AfterValidator(_check_words)
    ]


class NewFact(RequestBody):
    space: SpaceName = DEFAULT_SPACE
    statement: Statement
    probes: Annotated[list[ProbeBody], Field(min_length=1, max_length=20)] | None = None

    @property
    def given_probes(self) -> list[GivenProbe]:
        return [GivenProbe(probe.question, probe.answer) for probe in self.probes or []]


class FactEdit(RequestBody):
    """`status` may only be `pending`: learn a rejected fact again."""

    statement: Statement | None = None
    status: Literal["pending"] | None = None


class SourceBody(BaseModel):
    message_id: str
    span: tuple[int, int] | None


class ProbeView(BaseModel):
    kind: str
    origin: str
    question: str
    answers: list[str]


class ForgettingProof(BaseModel):
    """How many of a forgotten fact's probes were answered right, before, after, and by the base."""

    run: str
    probes: int
    recalled_before: int
    recalled_after: int
    recalled_by_base: int


class FactBody(BaseModel):
    id: str
    space: str
    statement: str
    status: str
    reason: str | None
    source: SourceBody | None
    supersedes: str | None
    live_since_version: int | None
    forgetting_proof: ForgettingProof | None
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, fact: Fact, space: str) -> "FactBody":
        return cls(**_columns(fact, space))


class FactDetail(FactBody):
    probes: list[ProbeView]

    @classmethod
    def with_probes(cls, fact: Fact, space: str, probes: list[Probe]) -> "FactDetail":
        views = [ProbeView(kind=p.kind, origin=p.origin, question=p.question, answers=p.answers) for p in probes]
        return cls(**_columns(fact, space), probes=views)


def _columns(fact: Fact, space: str) -> dict[str, object]:
    span = (fact.span_start, fact.span_end) if fact.span_start is not None and fact.span_end is not None else None
    return {
        "id": fact.id,
        "space": space,
        "statement": fact.statement,
        "status": fact.status,
        "reason": fact.reason,
        "source": SourceBody(message_id=fact.message_id, span=span) if fact.message_id else None,
        "supersedes": fact.supersedes_id,
        "live_since_version": fact.live_since_version,
        "forgetting_proof": fact.forgetting_proof,
        "created_at": fact.created_at,
        "updated_at": fact.updated_at,
    }
