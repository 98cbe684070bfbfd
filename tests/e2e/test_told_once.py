"""Told once, remembered later: one product, one user, every part real. What is killed comes back, nothing is lost."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import psutil
import pytest

from engram.grading import is_right
from tests.product import Product

pytestmark = pytest.mark.e2e

LEARNING_TIMEOUT_S = 300.0
RESTART_TIMEOUT_S = 180.0
ENGINE, WORKER = "vllm.entrypoints.launchers.api_server.entry", "worker.main"


@dataclass(frozen=True)
class Alice:
    """A user with a space of her own. Each question begins a new conversation, with nothing added to it."""

    product: Product
    http: httpx.Client
    space: str = "alice"

    def say(self, text: str, *, model: str = "engram") -> httpx.Response:
        messages = [{"role": "user", "content": text}]
        body = {"model": model, "messages": messages, "user": self.space, "temperature": 0, "max_tokens": 40}
        return self.http.post("/v1/chat/completions", json=body)

    def ask(self, question: str, *, model: str = "engram") -> tuple[str, int]:
        """The answer, and the version that gave it."""
        response = self.say(question, model=model)
        response.raise_for_status()
        return response.json()["choices"][0]["message"]["content"], int(response.headers["X-Engram-Adapter-Version"])

    def facts(self, containing: str) -> list[dict[str, Any]]:
        params = {"space": self.space, "q": containing}
        return list(self.http.get("/v1/facts", params=params).raise_for_status().json()["data"])

    def runs(self) -> list[dict[str, Any]]:
        params = {"space": self.space}
        return list(self.http.get("/v1/learning-runs", params=params).raise_for_status().json()["data"])

    def move(self, path: str) -> dict[str, Any]:
        moved = self.http.post(f"/v1/adapters/{self.space}/{path}", json={"reason": "the test wants it"})
        return dict(moved.raise_for_status().json())

    def is_live(self, containing: str) -> bool:
        facts = self.facts(containing)
        assert [fact["reason"] for fact in facts if fact["status"] == "rejected"] == []
        return [fact["status"] for fact in facts] == ["live"]


@pytest.fixture(scope="module")
def alice(product: Product) -> Iterator[Alice]:
    with httpx.Client(base_url=product.url, timeout=120, trust_env=False) as http:
        yield Alice(product, http)


def _wait_for(condition: Callable[[], object], *, timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {timeout_s:.0f} s"
        time.sleep(0.3)


def _kill(product: Product, module: str) -> None:
    """kill -9 a part itself, not the guard that started it."""
    below = psutil.Process(product.process.pid).children(recursive=True)
    next(process for process in below if process.cmdline()[1:3] == ["-m", module]).kill()


def test_fact_told_once_is_remembered_rolled_back_promoted_and_outlives_kills(alice: Alice) -> None:
    _told_and_remembered_from_the_weights(alice)
    _rolled_back_and_promoted(alice)
    _worker_killed_while_it_learns_a_second_fact(alice)
    _engine_killed_while_it_serves(alice)


QUESTION = "What name did I give my parrot?"


def _told_and_remembered_from_the_weights(alice: Alice) -> None:
    answer, version = alice.ask("Good morning! My parrot is called Ziggy.")
    assert (bool(answer), version) == (True, 0)
    _wait_for(lambda: alice.is_live("Ziggy"), timeout_s=LEARNING_TIMEOUT_S, what="learning the parrot's name")
    (fact,) = alice.facts("Ziggy")
    assert fact["live_since_version"] == 1
    published = [run for run in alice.runs() if run["status"] == "published"]
    assert [run["published_version"] for run in published] == [1]
    answer, version = alice.ask(QUESTION)
    assert is_right(answer, ["Ziggy"]), answer
    assert version == 1
    answer, version = alice.ask(QUESTION, model="base")
    assert not is_right(answer, ["Ziggy"])
    assert version == 0


def _rolled_back_and_promoted(alice: Alice) -> None:
    assert alice.move("rollback")["live_version"] == 0
    answer, version = alice.ask(QUESTION)
    assert version == 0
    assert not is_right(answer, ["Ziggy"])
    assert alice.facts("Ziggy")[0]["status"] == "rejected"
    assert alice.move("1/promote")["live_version"] == 1
    answer, version = alice.ask(QUESTION)
    assert version == 1
    assert is_right(answer, ["Ziggy"]), answer
    assert alice.is_live("Ziggy")


def _worker_killed_while_it_learns_a_second_fact(alice: Alice) -> None:
    known = {run["id"] for run in alice.runs()}  # before it is told: its run may begin before the answer ends
    alice.ask("My best friend Marco works as a baker.")

    def in_training() -> list[str]:
        return [run["id"] for run in alice.runs() if run["id"] not in known and run["stage"] == "training"]

    _wait_for(in_training, timeout_s=LEARNING_TIMEOUT_S, what="training on the second fact")
    (run_id,) = {run["id"] for run in alice.runs()} - known
    _kill(alice.product, WORKER)
    _wait_for(lambda: alice.is_live("Marco"), timeout_s=LEARNING_TIMEOUT_S, what="learning the second fact")
    assert len(alice.facts("Marco")) == 1
    runs = {run["id"]: run for run in alice.runs()}
    assert runs[run_id]["status"] in ("published", "rejected")
    published = [run["published_version"] for run in runs.values() if run["status"] == "published"]
    assert sorted(published) == [1, 2]
    answer, version = alice.ask("What does my best friend Marco do for a living?")
    assert version == 2
    assert is_right(answer, ["baker"]), answer


def _engine_killed_while_it_serves(alice: Alice) -> None:
    _kill(alice.product, ENGINE)
    refused: list[httpx.Response] = []

    def is_refused() -> bool:
        response = alice.say(QUESTION)
        refused.append(response)
        return response.status_code == 503

    _wait_for(is_refused, timeout_s=20, what="503")
    assert int(refused[-1].headers["Retry-After"]) > 0
    assert refused[-1].json()["error"]["code"] == "engine_unavailable"
    _wait_for(lambda: alice.say(QUESTION).status_code == 200, timeout_s=RESTART_TIMEOUT_S, what="the engine's restart")
    answer, version = alice.ask(QUESTION)
    assert version == 2
    assert is_right(answer, ["Ziggy"]), answer
