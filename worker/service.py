"""Answer the doorbell: extract facts of a message, learn what is pending in a space. Both can run twice."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog
from sqlalchemy.exc import IntegrityError

from engram.db import Database
from engram.errors import EngineUnavailable, EngramError
from engram.lifecycle import ExtractionStatus, FactStatus, RunKind, advance_fact
from engram.models import Message
from engram.models.base import utc_now
from engram.queue import Doorbell
from engram.repositories import ChatRepository, FactRepository, RunRepository, SpaceRepository
from engram.settings import Settings
from engram.vllm_client import EngineClient
from worker import recovery
from worker.author.client import EngineAuthor
from worker.extraction import Quote, extract
from worker.pipeline import Pipeline
from worker.torch_thread import SameThread, TorchThread

log = structlog.get_logger()


@dataclass(frozen=True)
class Worker:
    database: Database
    settings: Settings
    doorbell: Doorbell
    author: EngineAuthor
    pipeline: Pipeline
    engines: Sequence[EngineClient]
    torch: TorchThread | SameThread = field(default_factory=TorchThread)
    learning: threading.Lock = field(default_factory=threading.Lock)

    def extract(self, message_id: str) -> None:
        """Select the facts of a message and store them, unless that was done before."""
        with self.database.read() as session:
            message = ChatRepository(session).message(message_id)
        if message is None or message.extraction != ExtractionStatus.PENDING:
            return
        try:
            quotes = extract(message.content, self.author)
        except EngineUnavailable as error:
            log.warning("extraction.waiting", message=message_id, reason=error.message)
            return  # the sweep rings again
        except EngramError as error:
            self._give_up(message_id, error.message)
            return
        if self._store_facts(message, quotes):
            self.doorbell.learn(message.space_id)

    def learn(self, space_id: str) -> None:
        """Learn what is pending in a space, then in any other, until nothing is left.

        One thread learns at a time. One that finds another learning goes away: that one looks for
        more work before it ends.
        """
        if not self.learning.acquire(blocking=False):
            return
        try:
            if self.settings.learn_automatically and self.settings.most_facts_at_once > 1:
                time.sleep(self.settings.learn_delay_s)
            while run_id := self._claim_next(space_id):
                self.torch.run(partial(self.pipeline.run, run_id))
                recovery.remove_withdrawn_files(self.database)
        finally:
            self.learning.release()

    def warmed_up(self) -> bool:
        """Use an idle moment to compute what runs would wait for. True once there is nothing left of it."""
        return not self.learning.locked() and not self.torch.run(self.pipeline.learner.prepare_more)

    def _give_up(self, message_id: str, reason: str) -> None:
        """The engine refuses this message for good: end its extraction, or the sweep would ring for ever."""
        with self.database.transaction() as session:
            if message := ChatRepository(session).message(message_id):
                message.extraction = ExtractionStatus.FAILED
        log.error("extraction.failed", message=message_id, reason=reason)

    def _store_facts(self, said: Message, quotes: Sequence[Quote]) -> bool:
        """Add the quotes to the ledger and mark the message done, in one transaction. True: something is to learn."""
        pending = False
        with self.database.transaction() as session:
            # The lock comes before the look: a message that was rung for twice may be in two threads.
            SpaceRepository(session).by_id(said.space_id, lock=True)
            message = ChatRepository(session).message(said.id)
            if message is None or message.extraction != ExtractionStatus.PENDING:
                return False
            facts = FactRepository(session)
            for quote in quotes:
                if facts.find_standing(message.space_id, quote.text):
                    continue
                fact = facts.add(
                    message.space_id,
                    quote.text,
                    message=message,
                    span=(quote.start, quote.end),
                    status=FactStatus.REJECTED if quote.refusal else FactStatus.PENDING,
                    reason=quote.refusal,
                )
                pending = pending or not quote.refusal
                log.info("fact.extracted", fact=fact.id, message=message.id, refusal=quote.refusal)
            message.extraction = ExtractionStatus.DONE
        return pending

    def _claim_next(self, preferred_space: str) -> str | None:
        """Claim a queued run, or make one of pending facts; the preferred space first."""
        if not all(engine.is_healthy() for engine in self.engines):
            return None  # the sweep rings again
        with self.database.read() as session:
            waiting = sorted(RunRepository(session).unfinished(), key=lambda run: run.space_id != preferred_space)
            spaces = {run.space_id for run in waiting}
            facts = FactRepository(session)
            forgetting = set(facts.spaces_with(FactStatus.FORGETTING)) - spaces
            pending = set(facts.spaces_with(FactStatus.PENDING)) - spaces
        stale_before = utc_now() - timedelta(seconds=self.settings.worker_stale_s)
        for run in waiting:
            with self.database.transaction() as session:
                if RunRepository(session).claim(run.id, stale_before=stale_before):
                    return run.id
        for space_id in sorted(forgetting):
            if run_id := self._start(space_id, kind=RunKind.REBUILD):
                return run_id
        if self.settings.learn_automatically:
            for space_id in sorted(pending, key=lambda space: space != preferred_space):
                if run_id := self._start(space_id, kind=RunKind.LEARN):
                    return run_id
            for space_id in recovery.to_consolidate(self.database, self.settings):
                if run_id := self._start(space_id, kind=RunKind.CONSOLIDATE):
                    return run_id
        return None

    def _start(self, space_id: str, *, kind: RunKind) -> str | None:
        """Queue and claim a run over a space's pending facts; None if another worker was faster."""
        try:
            with self.database.transaction() as session:
                facts, runs = FactRepository(session), RunRepository(session)
                taken = []
                if kind == RunKind.LEARN:
                    limit = self.settings.most_facts_at_once
                    taken = facts.with_status(space_id, FactStatus.PENDING, limit=limit)
                for fact in taken:
                    advance_fact(fact, to=FactStatus.LEARNING)
                run = runs.queue(space_id, [fact.id for fact in taken], kind=kind)
                runs.claim(run.id, stale_before=utc_now())
                return run.id
        except IntegrityError:
            return None
