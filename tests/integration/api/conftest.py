"""A real server on a free port, before a fake engine on another, with a SQLite database of its own."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from huey import MemoryHuey
from openai import OpenAI
from sqlalchemy import select

from engram.artifacts import CONFIG, WEIGHTS, digest_folder
from engram.db import Database
from engram.models import AdapterVersion, Base, Message
from engram.promotion import make_live
from engram.queue import Doorbell
from engram.repositories import AdapterRepository, FactRepository, OpsRepository, SpaceRepository
from engram.settings import Settings
from scope.decision import Scope
from server.app import create_app
from tests.builders import adapter_version
from tests.fakes.engine import FakeEngine
from tests.fakes.serving import serving


@dataclass
class Api:
    """The server under test and everything around it."""

    url: str
    http: httpx.Client
    database: Database
    doorbell: Doorbell
    engine: FakeEngine
    home: Path

    @property
    def openai(self) -> OpenAI:
        return OpenAI(base_url=f"{self.url}/v1", api_key="none", max_retries=0)

    def chat(self, text: str, *, model: str = "engram", **extra: Any) -> httpx.Response:
        body = {"model": model, "messages": [{"role": "user", "content": text}], **extra}
        return self.http.post("/v1/chat/completions", json=body)

    def rung(self) -> list[tuple[str, str]]:
        """What the worker was asked to do: (job, id)."""
        return [(task.name, task.args[0]) for task in self.doorbell.huey.pending()]

    def messages(self) -> list[Message]:
        with self.database.read() as session:
            return list(session.scalars(select(Message).order_by(Message.id)))

    def publish(
        self,
        *statements: str,
        space: str = "default",
        tenant: str = "local",
        live: bool = True,
        scope: Scope | None = None,
        new_shard: bool = False,
    ) -> AdapterVersion:
        """A version with files that holds new facts, published as the worker does it.

        `new_shard`: its weights hold the new facts alone; what the live version holds stays where it is.
        """
        with self.database.transaction() as session:
            row = SpaceRepository(session).get_or_create(tenant, space)
            facts = [FactRepository(session).add(row.id, statement) for statement in statements]
            for fact in facts:
                fact.status = "learning"
            held = [fact.id for fact in facts]
            adapters = AdapterRepository(session)
            parent = adapters.find(row.id, row.live_version)
            earlier = adapters.held(parent.id) if parent else {}
            held += [] if new_shard else earlier
            version = adapter_version(session, row, fact_ids=held, elsewhere=earlier if new_shard else None)
            folder = self.home / "adapters" / version.lora_name
            folder.mkdir(parents=True)
            (folder / CONFIG).write_text('{"peft_type": "LORA", "r": 4}')
            (folder / WEIGHTS).write_bytes(version.lora_name.encode() * 400)
            if scope:
                scope.save(folder)
            version.path, version.digest = str(folder), digest_folder(folder)
            if live:
                make_live(session, row.id, version.version, actor="worker", action="publish", reason="gate admitted it")
        return version

    def key(self, *scopes: str, tenant: str = "acme") -> dict[str, str]:
        """Headers with a new key."""
        secret = f"sk-{tenant}-{'-'.join(scopes)}"
        with self.database.transaction() as session:
            OpsRepository(session).add_key(tenant=tenant, name=f"{tenant} key", secret=secret, scopes=list(scopes))
        return {"Authorization": f"Bearer {secret}"}

    def wait_until(self, condition: Callable[[], bool], *, what: str, timeout_s: float = 10.0) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert time.monotonic() < deadline, f"never came true: {what}"
            time.sleep(0.02)

    def wait_until_ready(self) -> None:
        self.wait_until(lambda: self.http.get("/readyz").status_code == 200, what="ready")


@contextmanager
def running_api(engine: FakeEngine, home: Path, **options: Any) -> Iterator[Api]:
    """A server with other settings than the default. Returns before its engine is ready."""
    settings = Settings(home=home, reconcile_interval_s=0.05, engine_timeout_s=5, unload_grace_s=0.2, **options)
    settings.home.mkdir(exist_ok=True)
    database = Database(settings.resolved_database_url)
    Base.metadata.create_all(database.engine)
    doorbell = Doorbell(MemoryHuey("engram"))
    app = create_app(settings, database=database, doorbell=doorbell)
    with serving(app) as url, httpx.Client(base_url=url, timeout=20, trust_env=False) as http:
        yield Api(url, http, database, doorbell, engine, settings.home)
    database.dispose()


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def engine_url(engine: FakeEngine) -> Iterator[str]:
    with serving(engine.app()) as url:
        yield url


StartApi = Callable[..., Api]


@pytest.fixture
def start_api(engine: FakeEngine, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[StartApi]:
    """Start a server and wait until it is ready; `engine_urls` stands in for the fake engine's."""
    with ExitStack() as stack:

        def start(**options: Any) -> Api:
            urls = options.pop("engine_urls", "") or request.getfixturevalue("engine_url")
            api = stack.enter_context(running_api(engine, tmp_path / "home", engine_urls=urls, **options))
            api.wait_until_ready()
            return api

        yield start


@pytest.fixture
def api(start_api: StartApi) -> Api:
    return start_api()


@pytest.fixture(scope="module")
def shared_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """One server for all tests of a module that change nothing."""
    engine = FakeEngine()
    home = tmp_path_factory.mktemp("shared")
    with serving(engine.app()) as url, running_api(engine, home, engine_urls=url) as api:
        api.wait_until_ready()
        yield api
