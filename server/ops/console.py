"""`/ops`: one page on which operators see every version and roll a bad one back.

The page itself holds no data; its panel does, and is fetched with the caller's key.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, select_autoescape
from sqlalchemy.orm import Session

from engram.gate import stopped_early
from engram.lifecycle import FactStatus, RunKind, RunStatus
from engram.models import AdapterVersion, LearningRun, Space
from engram.repositories import AdapterRepository, FactRepository, RunRepository, SpaceRepository
from engram.repositories.adapters import SERVABLE
from server.deps import OpsCallerDep, SettingsDep, StateDep

router = APIRouter(include_in_schema=False)

_VERSIONS_SHOWN = 10
_RUNS_SHOWN = 8
_templates = Environment(
    loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=select_autoescape(default=True)
)


@dataclass(frozen=True, slots=True)
class VersionView:
    """`learned`: statements that it holds and its parent did not. `shards`: whose weights it answers with too."""

    row: AdapterVersion
    shards: list[int]
    is_live: bool
    can_go_live: bool
    learned: list[str]
    decision: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class RunView:
    """`statements`: what it was to teach; none where it taught anew what was known."""

    row: LearningRun
    statements: list[str]
    candidates: list[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class SpaceView:
    space: Space
    facts: dict[str, int]
    versions: list[VersionView]
    runs: list[RunView]


@router.get("/ops")
def console(settings: SettingsDep) -> HTMLResponse:
    return HTMLResponse(_templates.get_template("console.html").render(auth=settings.auth), headers=_HEADERS)


@router.get("/ops/panel")
def panel(caller: OpsCallerDep, state: StateDep, settings: SettingsDep) -> HTMLResponse:
    with state.database.read() as session:
        spaces = [_view(session, space) for space in SpaceRepository(session).all(caller.tenant)]
    page = _templates.get_template("panel.html").render(
        spaces=spaces, engines=state.pool.replicas, tenant=caller.tenant, actor=caller.actor, auth=settings.auth
    )
    return HTMLResponse(page, headers=_HEADERS)


_HEADERS = {
    "Cache-Control": "no-store",
    "X-Frame-Options": "DENY",  # a framed page could be made to click "roll back"
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
}


def _view(session: Session, space: Space) -> SpaceView:
    versions = AdapterRepository(session).page(space.id, limit=_VERSIONS_SHOWN, cursor=None).rows
    runs = RunRepository(session).page([space.id], status=None, limit=_RUNS_SHOWN, cursor=None).rows
    counts = FactRepository(session).count_by_status(space.id)
    return SpaceView(
        space=space,
        facts={status: counts[status] for status in FactStatus if status in counts},
        versions=[_version(session, space, row) for row in versions],
        runs=[_run(session, run) for run in runs],
    )


def _version(session: Session, space: Space, row: AdapterVersion) -> VersionView:
    adapters = AdapterRepository(session)
    parent = adapters.find(space.id, row.parent_version)
    new = set(adapters.fact_ids(row.id)).difference(adapters.fact_ids(parent.id) if parent else ())
    is_live = row.version == space.live_version
    return VersionView(
        row,
        shards=[shard.version for shard in adapters.shards(row)],
        is_live=is_live,
        can_go_live=row.status in SERVABLE and not is_live,
        learned=_statements(session, new),
        decision=RunRepository(session).by_id(row.run_id).decision,
    )


def _run(session: Session, run: LearningRun) -> RunView:
    taught = RunRepository(session).fact_ids(run.id) if run.kind == RunKind.LEARN else ()
    return RunView(run, _statements(session, taught), _candidates(session, run))


def _statements(session: Session, fact_ids: Iterable[str]) -> list[str]:
    return [fact.statement or "(forgotten)" for fact in FactRepository(session).by_ids(fact_ids)]


def _candidates(session: Session, run: LearningRun) -> list[dict[str, Any]]:
    """Strategy and score of each candidate: `admitted` is None while it is not examined, or was stopped before."""
    won = (run.decision or {}).get("candidate") if run.status == RunStatus.PUBLISHED else None
    return [
        {
            "strategy": candidate.strategy,
            "won": candidate.index == won,
            "admitted": None if stopped_early(candidate.decision) else (candidate.decision or {}).get("admitted"),
            "stopped": stopped_early(candidate.decision),
            "slices": (candidate.report or {}).get("slices", {}),
        }
        for candidate in RunRepository(session).candidates(run.id)
    ]
