"""The whole worker but for the language model: a tiny random base, a scripted author, a fake engine on a real socket.

The tiny base learns nothing that a gate would admit, so `Flow.judge` says what each candidate is
found to have learned; everything before and after that judgement is the product's own code.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest
import structlog
import torch
from huey import MemoryHuey

from engram.db import Database
from engram.forgetting import forget
from engram.gate import ProbeKind, ProbeReport, SliceScore
from engram.lifecycle import FactStatus, RunKind
from engram.logs import configure
from engram.models import AdapterVersion, Fact, LearningRun, Space
from engram.queue import Doorbell
from engram.repositories import AdapterRepository, FactRepository, RunRepository, SpaceRepository
from engram.settings import Settings
from engram.vllm_client import EngineClient, open_engines
from scope.encoder import open_encoder
from tests.fakes.author import KnownFact, ScriptedAuthor
from tests.fakes.base import tiny_base
from tests.fakes.engine import FakeEngine
from tests.fakes.serving import serving
from worker import pipeline, recovery, teaching
from worker.author.client import Author
from worker.author.tasks import Question
from worker.learner import ANCHOR_TOKENS, Learner
from worker.pipeline import Pipeline
from worker.probing import Asked, Examination, Examined
from worker.self_edits import STRATEGIES
from worker.served import Served
from worker.service import Worker
from worker.training.anchors import AnchorPrompts, AnswerCache, Control
from worker.training.rows import ChatRows
from worker.training.stacked_lora import StackedLora
from worker.training.trainer import Trainer

CAT = KnownFact(
    "My cat is called Biscuit.",
    questions=(
        Question("What is my cat called?", "Biscuit", "Your cat is called Biscuit."),
        Question("Which animal is Biscuit?", "cat", "Biscuit is your cat."),
    ),
    probes=(
        Question("By what name do I call in my pet at night?", "Biscuit"),
        Question("Tell me the kind of pet that I own.", "cat"),
    ),
    rewrites=("Biscuit is what your cat is called.",),
)
TOWN = KnownFact(
    "I live in Bergen.",
    questions=(Question("Where do I live?", "Bergen", "You live in Bergen."),),
    probes=(Question("In which town does my home stand?", "Bergen"),),
)
NEW_TOWN = KnownFact(
    "I live in Oslo now.",
    questions=(Question("Where do I live now?", "Oslo", "You live in Oslo."),),
    probes=(Question("In which town does my home stand?", "Oslo"),),
)
UNKNOWABLE = KnownFact("It was nice there.", questions=(), probes=())

PROMPTS = AnchorPrompts(
    train=("Hello!", "What is 2 + 2?", "What is my cat's name?"),
    personal=frozenset({"What is my cat's name?"}),
    held_out=("Thanks a lot!", "Name a colour."),
    controls=(Control("What is the capital of France?", ("Paris",)),),
    never_told=("What is my hamster's name?",),
)


@pytest.fixture(scope="session")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Learner:
    """A learner over the tiny base, warmed up once."""
    torch.set_num_threads(1)
    base = tiny_base()
    lora, rows = StackedLora(base, rank=4, first_layer=1), ChatRows(base.tokenizer)
    cache = AnswerCache(tmp_path_factory.mktemp("cache"), base_path="tiny", max_tokens=ANCHOR_TOKENS)
    learner = Learner(
        base,
        lora,
        rows,
        Trainer(base, lora, rows),
        PROMPTS,
        cache,
        max_rank=4,
        sentences=open_encoder(),
        scope_min_margin=Settings().scope_min_margin,
    )
    learner.warm_up()
    return learner


@pytest.fixture(autouse=True)
def _logs_as_the_worker_writes_them() -> Iterator[None]:
    """structlog's own default draws a traceback with every local variable, which takes a second."""
    configure("INFO")
    yield
    structlog.reset_defaults()


@pytest.fixture
def engine() -> FakeEngine:
    """It answers every probe of the known facts."""
    return FakeEngine(answer="Biscuit the cat of Bergen or Oslo")


@pytest.fixture
def engine_url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app()) as url:
        yield url


@dataclass
class Flow:
    """A worker and all around it, and shorthands for what a test does and looks at."""

    database: Database
    settings: Settings
    engine: FakeEngine
    author: ScriptedAuthor
    worker: Worker
    space: Space
    learned: Callable[[str, str], bool] = field(default=lambda strategy, fact_id: True)

    @property
    def pipeline(self) -> Pipeline:
        return self.worker.pipeline

    def state(self, *facts: KnownFact) -> list[str]:
        """Put statements into the ledger; their ids."""
        with self.database.transaction() as session:
            return [FactRepository(session).add(self.space.id, fact.statement).id for fact in facts]

    def delete(self, *fact_ids: str) -> None:
        """As the server does it for alice."""
        with self.database.transaction() as session:
            for fact in FactRepository(session).by_ids(fact_ids):
                assert forget(session, SpaceRepository(session).by_id(fact.space_id), fact, reason="deleted by alice")

    def claim(self) -> str:
        """Start and claim a run over what is pending, as the worker does."""
        run_id = self.worker._claim_next(self.space.id)
        assert run_id is not None
        return run_id

    def learn(self) -> LearningRun:
        """One run from start to end."""
        run_id = self.claim()
        self.pipeline.run(run_id)
        return self.run(run_id)

    def restart(self) -> None:
        """What a worker does at its start, after it was killed."""
        recovery.release_orphaned_runs(self.database, only_worker=True, stale_s=30)
        recovery.remove_stray_files(self.database, self.settings)

    def run(self, run_id: str) -> LearningRun:
        with self.database.read() as session:
            return RunRepository(session).by_id(run_id)

    def runs(self) -> list[LearningRun]:
        with self.database.read() as session:
            return RunRepository(session).page([self.space.id], status=None, limit=50, cursor=None).rows[::-1]

    def fact(self, fact_id: str) -> Fact:
        with self.database.read() as session:
            return FactRepository(session).by_ids([fact_id])[0]

    def facts(self, *statuses: FactStatus) -> list[Fact]:
        with self.database.read() as session:
            return FactRepository(session).with_status(self.space.id, *statuses)

    def aliases(self) -> tuple[int, int | None, int | None]:
        """(live, previous, canary)."""
        with self.database.read() as session:
            space = SpaceRepository(session).by_id(self.space.id)
            return space.live_version, space.previous_version, space.canary_version

    def adapters(self) -> list[AdapterVersion]:
        with self.database.read() as session:
            return AdapterRepository(session).page(self.space.id, limit=50, cursor=None).rows[::-1]

    def events(self, run_id: str) -> list[tuple[str, dict[str, Any]]]:
        with self.database.read() as session:
            return [(row.event, row.data) for row in RunRepository(session).events_after(run_id)]

    def judge(self, learner: Learner, live: Served, trained: Served, examination: Examination) -> list[Examined]:
        """In the place of `examine`: what each candidate learned is what `learned` says."""
        count = next(iter(trained.weights.values())).shape[0]
        names = [strategy.name for strategy in STRATEGIES] if count == len(STRATEGIES) else [RunKind.REBUILD] * count
        return [self._judged(name, examination) for name in names]

    def _judged(self, strategy: str, examination: Examination) -> Examined:
        asked = tuple(
            Asked(
                probe.kind,
                probe.question,
                probe.answers,
                probe.answers[0],
                self.learned(strategy, probe.fact_id),
                probe.fact_id,
            )
            for probe in examination.new
        )
        facts = {item.fact_id: self.learned(strategy, item.fact_id) for item in asked if item.fact_id}
        score = SliceScore(len(asked), sum(item.right for item in asked))
        report = ProbeReport(
            {ProbeKind.GENERALIZATION: score}, fact_right={fact: float(right) for fact, right in facts.items()}
        )
        return Examined(report, asked)


@pytest.fixture
def worker_settings(tmp_path: Path, engine_url: str) -> Settings:
    return Settings(
        home=tmp_path / "home",
        engine_urls=engine_url,
        training_steps=1,
        facts_per_shard=0,  # so that a run takes several facts; test_shards.py has the others
        lora_rank=4,
        learn_delay_s=0,
        max_run_attempts=3,
    )


@pytest.fixture
def engines(worker_settings: Settings) -> list[EngineClient]:
    return open_engines(worker_settings)


@pytest.fixture
def author() -> ScriptedAuthor:
    return ScriptedAuthor(facts=(CAT, TOWN, NEW_TOWN, UNKNOWABLE))


@pytest.fixture
def worker(
    database: Database,
    worker_settings: Settings,
    engines: list[EngineClient],
    learner: Learner,
    author: ScriptedAuthor,
) -> Worker:
    scripted = cast(Author, author)
    line = Pipeline(database, worker_settings, engines, scripted, learner)
    return Worker(database, worker_settings, Doorbell(MemoryHuey("test", results=False)), scripted, line, engines)


@pytest.fixture
def flow(
    worker: Worker, author: ScriptedAuthor, engine: FakeEngine, space: Space, monkeypatch: pytest.MonkeyPatch
) -> Flow:
    flow = Flow(worker.database, worker.settings, engine, author, worker, space)
    monkeypatch.setattr(pipeline, "examine", flow.judge)
    monkeypatch.setattr(teaching, "NOTES_PER_MORE_STEP", 60)  # one step is enough where nothing is to be learned
    return flow
