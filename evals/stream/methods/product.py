"""Engram itself, in this process: its ledger, its pipeline, its gate and its published adapter files; no vLLM."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from huey import MemoryHuey

from engram.db import Database
from engram.lifecycle import FactStatus, RunKind
from engram.migrate import upgrade
from engram.queue import Doorbell
from engram.repositories import AdapterRepository, FactRepository, RunRepository, SpaceRepository
from engram.settings import Settings
from engram.statements import why_not_a_fact
from evals.stream.datasets import Item
from evals.stream.methods.protocol import Question
from evals.stream.model import Setup
from worker import recovery
from worker.author.client import EngineAuthor
from worker.pipeline import Pipeline
from worker.served import Served, read_served
from worker.service import Worker
from worker.training.stacked_lora import Weights

TENANT, SPACE = "local", "stream"


class Product:
    """Each fact is added to the ledger as the API adds it, and learned by a run of its own, as the worker runs it.

    What the gate rejects is tried again as in the product. Versions are published to no replica, so no served
    check is asked. Questions out of a version's scope go to the base, as the server sends them. Nobody chats
    meanwhile, so what the worker does in idle time it does within `tell`. Answers come from the live version's
    file, read back. All state is in `home`: some 10 MB a version. What is told and asked is one space's; another
    space of the same Engram is another `Product` at the same `home`.
    """

    can_resume = True

    def __init__(self, setup: Setup, home: Path, *, space: str = SPACE) -> None:
        self.setup = setup
        self.outcome = ""
        setup.learner.warm_up()
        self.settings = settings_at(home, seed=setup.settings.seed)
        upgrade(self.settings)
        self.database = Database(self.settings.resolved_database_url)
        with self.database.transaction() as session:
            self.space_id = SpaceRepository(session).get_or_create(TENANT, space).id
        self.worker = self._open_worker()
        self._read: tuple[int, Served | None] = (0, None)

    def tell(self, statement: str, item: Item) -> None:
        fact_id = self._state(statement)
        self.worker.learn(self.space_id)
        self.outcome = self._outcome(fact_id)

    def answer(self, questions: Sequence[Question]) -> list[str]:
        texts = [question.text for question in questions]
        covered = self.covers(texts)
        own = iter(self.setup.answer([t for t, inside in zip(texts, covered, strict=True) if inside], self.weights()))
        # The base is asked all of them, in the batches of the reference: in others its near-ties fall otherwise.
        base = self.setup.answer(texts, None) if not all(covered) else texts
        return [next(own) if inside else said for inside, said in zip(covered, base, strict=True)]

    def weights(self) -> Weights | None:
        live = self._live()
        return live.weights if live else None

    def covers(self, prompts: Sequence[str]) -> list[bool]:
        live = self._live()
        return self.setup.learner.covered(prompts, live.scope if live else None)

    def _live(self) -> Served | None:
        with self.database.read() as session:
            version = SpaceRepository(session).by_id(self.space_id).live_version
            path = AdapterRepository(session).get(self.space_id, version).path if version else None
        if version != self._read[0]:
            self._read = (version, read_served(self.setup.learner, Path(path)) if path else None)
        return self._read[1]

    def close(self) -> None:
        self.database.dispose()

    def _state(self, statement: str) -> str:
        """Add a fact unless the ledger holds it: then it was told before an interruption. Returns its id."""
        with self.database.transaction() as session:
            facts = FactRepository(session)
            told = facts.with_status(self.space_id, *FactStatus)
            if known := next((fact for fact in told if fact.statement == statement), None):
                return known.id
            if standing := facts.find_standing(self.space_id, statement):
                return standing.id
            reason = why_not_a_fact(statement)
            status = FactStatus.REJECTED if reason else FactStatus.PENDING
            return facts.add(self.space_id, statement, status=status, reason=reason).id

    def _outcome(self, fact_id: str) -> str:
        """The fact's status, the live version, and whether consolidation came last: `tell` then took its time too."""
        with self.database.read() as session:
            (fact,) = FactRepository(session).by_ids([fact_id])
            space = SpaceRepository(session).by_id(self.space_id)
            newest = RunRepository(session).page([self.space_id], status=None, limit=1, cursor=None).rows
        consolidated = [f"consolidation {run.status}" for run in newest if run.kind == RunKind.CONSOLIDATE]
        said = ", ".join([fact.status, f"v{space.live_version}", *consolidated])
        return f"{said}: {fact.reason}" if fact.reason else said

    def _open_worker(self) -> Worker:
        """The worker without engines: it is told nothing in chat, so that it extracts nothing and nobody rings."""
        pipeline = Pipeline(self.database, self.settings, (), self.setup.author, self.setup.learner)
        recovery.release_orphaned_runs(self.database, only_worker=True, stale_s=self.settings.worker_stale_s)
        recovery.remove_stray_files(self.database, self.settings)
        recovery.remove_withdrawn_files(self.database)
        doorbell = Doorbell(MemoryHuey("stream", results=False))
        unused_extractor = cast(EngineAuthor, self.setup.author)
        return Worker(self.database, self.settings, doorbell, unused_extractor, pipeline, ())


def settings_at(home: Path, *, seed: int) -> Settings:
    """The settings of the environment, with all state in `home` and no wait before a run."""
    return Settings(
        home=home, seed=seed, database_url="", queue_url="", learn_automatically=True, learn_delay_s=0, canary_share=0
    )
