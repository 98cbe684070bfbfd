"""Make a space look as if it had learned facts, without training: a ledger of a hundred must not take an hour."""

import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

from engram.artifacts import files_of
from engram.ids import new_id
from engram.lifecycle import FactStatus, RunStatus
from engram.models import Candidate
from engram.repositories import AdapterRepository, FactRepository, RunRepository, SpaceRepository
from engram.routing import OWN_SHARD
from engram.similarity import content_words
from evals.stream.methods.product import Product
from scope.decision import Scope
from worker import publishing
from worker.curriculum import held_by_live
from worker.self_edits import STRATEGIES, HeldOut, Note, choose_probes, notes_of, wordings_of
from worker.study import Study

_WINNER = STRATEGIES[1]  # whose notes the facts were learned with
_REASON = "seeded"


def seed(product: Product, facts: Sequence[Study]) -> None:
    """Add facts to a space that has learned one: each with notes, probes and a version of its own, whose weights are
    those that the space learned. The last version is live, and its scope has the questions of all facts."""
    weights = _live_folder(product)
    for number, fact in enumerate(facts, start=1):
        candidate = _studied(product, fact)
        with product.database.read() as session:
            space = SpaceRepository(session).by_id(product.space_id)
            parent, held = space.live_version, held_by_live(session, space)
            (fact_id,) = RunRepository(session).fact_ids(candidate.run_id)
        held = {**held, fact_id: OWN_SHARD}
        scope = _scope(product, held) if number == len(facts) else None
        _publish(product, candidate, parent_version=parent, held=held, weights=weights, scope=scope)


def _live_folder(product: Product) -> Path:
    with product.database.read() as session:
        live = SpaceRepository(session).by_id(product.space_id).live_version
        return Path(AdapterRepository(session).get(product.space_id, live).path)


def _studied(product: Product, study: Study) -> Candidate:
    """Store a fact that is being learned, with its notes, probes, run and winning candidate."""
    with product.database.transaction() as session:
        facts, runs = FactRepository(session), RunRepository(session)
        fact = facts.add(product.space_id, study.statement, status=FactStatus.LEARNING)
        notes, probes = _material(replace(study, fact_id=fact.id))
        run = runs.queue(product.space_id, [fact.id])
        run.status = RunStatus.RUNNING.value
        candidate = Candidate(
            id=new_id("cand"),
            run_id=run.id,
            index=0,
            strategy=_WINNER.name,
            notes=[asdict(note) for note in notes],
            settings={},
        )
        runs.replace_candidates(run.id, [candidate])
        facts.replace_notes(run.id, candidate.notes)
        for probe in probes:
            facts.add_probe(fact.id, kind=probe.kind, origin="author", question=probe.question, answers=probe.answers)
        return candidate


def _material(study: Study) -> tuple[list[Note], list[HeldOut]]:
    probes = choose_probes(study)
    notes = notes_of(study, _WINNER, probes=probes)
    return notes + wordings_of(study, notes, probes=probes), probes


def _publish(
    product: Product,
    candidate: Candidate,
    *,
    parent_version: int,
    held: dict[str, int],
    weights: Path,
    scope: Scope | None,
) -> None:
    adapter = publishing.register(
        product.database,
        product.settings,
        shape=product.setup.learner.shape,
        candidate=candidate,
        space_id=product.space_id,
        parent_version=parent_version,
        save=partial(_save, weights=weights, scope=scope),
        held=held,
    )
    publishing.load_everywhere(product.database, (), adapter, (), shape=product.setup.learner.shape, floor=0.0)
    publishing.go_live(product.database, product.settings, adapter, reason=_REASON)
    with product.database.transaction() as session:
        runs = RunRepository(session)
        runs.finish(runs.by_id(candidate.run_id), to=RunStatus.PUBLISHED)


def _save(folder: Path, *, weights: Path, scope: Scope | None) -> None:
    """Files are never changed, so that a hundred versions can share one."""
    folder.mkdir(parents=True)
    for name in files_of(weights, with_scope=False):
        os.link(weights / name, folder / name)
    if scope:
        scope.save(folder)


def _scope(product: Product, held: dict[str, int]) -> Scope | None:
    """As the pipeline makes it for a version that holds these facts."""
    with product.database.read() as session:
        facts = FactRepository(session)
        statements = {fact.id: fact.statement for fact in facts.by_ids(held)}
        notes = facts.notes(list(held))
        probes = facts.probes(list(held))
    said: dict[int, list[str]] = {}
    for fact_id, shard in held.items():
        said.setdefault(shard, []).append(statements[fact_id])
    told = frozenset().union(*map(content_words, [*statements.values(), *(probe.question for probe in probes)]))
    return product.setup.learner.scope(
        [note.prompt for note in notes if held[note.fact_id] == OWN_SHARD],
        told,
        said=said,
        elsewhere={note.prompt: held[note.fact_id] for note in notes if held[note.fact_id] != OWN_SHARD},
    )
