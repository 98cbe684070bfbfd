"""Engram itself, in this process: its ledger, its pipeline, its gate and its published adapter files; no vLLM."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from huey import MemoryHuey

from engram.db import Database
from engram.lifecycle import FactStatus, RunKind
from engram.migrate import upgrade
from engram.queue import Doorbell
from engram.repositories import FactRepository, RunRepository, SpaceRepository
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
from worker.torch_thread import SameThread
from worker.training.stacked_lora import Weights

TENANT, SPACE = "local", "stream"


class Product:
    """Each fact is added to the ledger as the API adds it, and learned by a run of its own, as the worker runs it.

    What the gate rejects is tried again as in the product. Versions are published to no replica, so no served
    check is asked. Questions go to a shard of the version, or to the base, as the server sends them. Nobody chats
    meanwhile, so what the worker does in idle time it does within `tell`. Answers come from the files of the live
    version and its shards, read back. All state is in `home`: some 10 MB a version. What is told and asked is one
    space's; another space of the same Engram is another `Product` at the same `home`.
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
        self.learn(statement)

    def learn(self, statement: str) -> None:
        """Tell a fact and let the worker learn it. `outcome` says what became of it."""
        fact_id = self._state(statement)
        self.worker.learn(self.space_id)
        self.outcome = self._outcome(fact_id)

    def answer(self, questions: Sequence[Question]) -> list[str]:
        texts = [question.text for question in questions]
        answering = self.weights(texts)
        # The base is asked all of them, in the batches of the reference: in others its near-ties fall otherwise.
        answers = self.setup.answer(texts, None) if None in answering else [""] * len(texts)
        for weights in {id(one): one for one in answering if one}.values():
            places = [place for place, one in enumerate(answering) if one is weights]
            for place, said in zip(places, self.setup.answer([texts[p] for p in places], weights), strict=True):
                answers[place] = said
        return answers

    def weights(self, prompts: Sequence[str]) -> list[Weights | None]:
        live = self._live()
        if live is None:
            return [None] * len(prompts)
        answering = self.setup.learner.answering(prompts, live.scope)
        read = {shard: live.weights_of(shard) for shard in set(answering) if shard is not None}
        return [None if shard is None else read[shard] for shard in answering]

    def _live(self) -> Served | None:
        with self.database.read() as session:
            version = SpaceRepository(session).by_id(self.space_id).live_version
        if version != self._read[0]:
            live = read_served(self.setup.learner, self.database, self.space_id, version) if version else None
            self._read = (version, live)
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
        return Worker(self.database, self.settings, doorbell, unused_extractor, pipeline, (), SameThread())


def settings_at(home: Path, *, seed: int) -> Settings:
    """The settings of the environment, with all state in `home` and no wait before a run."""
    return Settings(
        home=home, seed=seed, database_url="", queue_url="", learn_automatically=True, learn_delay_s=0, canary_share=0
    )
