"""Delete facts of an Engram in this process as its API does, and look at what is left of them."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from engram.artifacts import SCOPE
from engram.forgetting import forget
from engram.lifecycle import FactStatus, RunKind
from engram.models import AdapterVersion, Candidate, Fact, LearningRun
from engram.repositories import AdapterRepository, FactRepository, RunRepository, SpaceRepository
from engram.repositories.pages import MAX_LIMIT
from evals.stream.datasets import Item
from evals.stream.methods.product import Product
from evals.stream.tables import Json

REASON = "deleted by the evaluation"


@dataclass(frozen=True, slots=True)
class Version:
    """An adapter version that held a forgotten fact. `has_files`: weights that were taught it, or what says what was
    asked about it, are on disk."""

    version: int
    status: str
    has_files: bool


@dataclass(frozen=True, slots=True)
class Left:
    """What the ledger holds of forgotten facts, by their place in the stream; how each rebuild ended; the versions."""

    facts: dict[int, Json]
    rebuilds: list[str]
    versions: list[Version]


def learned(product: Product, items: Sequence[Item]) -> dict[int, str]:
    """Ids of the facts that the live weights hold, by their place in the stream."""
    with product.database.read() as session:
        live = FactRepository(session).with_status(product.space_id, FactStatus.LIVE)
    ids = {fact.statement: fact.id for fact in live}
    return {place: ids[item.statement] for place, item in enumerate(items) if item.statement in ids}


def choose(learned: Mapping[int, str], *, count: int, seed: int) -> dict[int, str]:
    """Which facts to forget: `count` of those that were learned, or all if there are fewer."""
    drawn = random.Random(seed).sample(sorted(learned), min(count, len(learned)))
    return {place: learned[place] for place in sorted(drawn)}


def delete(product: Product, fact_ids: Iterable[str]) -> None:
    """As `DELETE /v1/facts/{id}` does it, one after another. Nothing where that was done before an interruption."""
    for fact_id in fact_ids:
        with product.database.transaction() as session:
            space = SpaceRepository(session).by_id(product.space_id, lock=True)
            (fact,) = FactRepository(session).by_ids([fact_id])
            forget(session, space, fact, reason=REASON)


def look(product: Product, chosen: Mapping[int, str]) -> Left:
    """What is left of the facts, their ids by place."""
    with product.database.read() as session:
        adapters, facts = AdapterRepository(session), FactRepository(session)
        by_id = {fact.id: fact for fact in facts.by_ids(chosen.values())}
        held = {row.version: row for fact_id in by_id for row in adapters.holding(fact_id)}
        taught = {row.version for row in held.values() if _taught_itself(adapters, row, by_id)}
        runs = _runs(session, product.space_id)
        studied = {note.fact_id for note in facts.notes(by_id)} | {probe.fact_id for probe in facts.probes(by_id)}
        studied |= {fact_id for run in runs for fact_id in _studied_in(RunRepository(session).candidates(run.id))}
    return Left(
        facts={place: _row(by_id[fact_id], is_studied=fact_id in studied) for place, fact_id in chosen.items()},
        rebuilds=[_ended(run) for run in runs if run.kind == RunKind.REBUILD],
        versions=[
            Version(number, row.status, _has_files(Path(row.path), was_taught=number in taught))
            for number, row in sorted(held.items())
        ],
    )


def _runs(session: Session, space_id: str) -> list[LearningRun]:
    """All of a space, oldest first."""
    runs, cursor = list[LearningRun](), None
    while True:
        page = RunRepository(session).page([space_id], status=None, limit=MAX_LIMIT, cursor=cursor)
        runs += page.rows
        if (cursor := page.next) is None:
            return runs[::-1]


def _studied_in(candidates: Iterable[Candidate]) -> set[str]:
    """The facts that stand in candidates' notes or in what they were asked."""
    return {
        item["fact_id"]
        for one in candidates
        for item in (*one.notes, *(one.report or {}).get("asked", ()))
        if item.get("fact_id")
    }


def _has_files(folder: Path, *, was_taught: bool) -> bool:
    return folder.exists() if was_taught else (folder / SCOPE).exists()


def _taught_itself(adapters: AdapterRepository, row: AdapterVersion, fact_ids: Iterable[str]) -> bool:
    """Whether a version's own weights were taught any of the facts, and not only those of its other shards."""
    shards = adapters.held(row.id)
    return any(shards.get(fact_id) == row.version for fact_id in fact_ids)


def _row(fact: Fact, *, is_studied: bool) -> Json:
    erased = not fact.statement and not is_studied
    return {"status": fact.status, "erased": erased, "proof": fact.forgetting_proof}


def _ended(run: LearningRun) -> str:
    reason = (run.decision or {}).get("reason") or run.error
    return f"{run.status}: {reason}" if reason else run.status
