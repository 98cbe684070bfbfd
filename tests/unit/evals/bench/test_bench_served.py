"""The served rows against a scripted Engram: what is waited for, what counts, what ends without a figure."""

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from engram.similarity import is_near_copy
from evals.bench import served
from evals.client import EngramClient

ROOT = Path(__file__).parents[4]
Json = dict[str, Any]


@dataclass
class ScriptedEngram:
    """Every statement becomes a fact that ends with `ends_as`, once some more chats were had if there were any."""

    ends_as: str = "live"
    extracts: bool = True
    fails_every: int = 0
    told: list[Json] = field(default_factory=list)
    chats_left: int = 0
    num_chats: int = 0

    def say(self, message: str) -> None:
        if self.extracts:
            self.told.append({"statement": message, "status": "learning"})
            self.chats_left = served.FEWEST_REQUESTS + 3

    def wait_until_read(self) -> None:
        pass

    def wait_until_settled(self) -> None:
        while self.num_chats > 0 and self.chats_left > 0:
            time.sleep(0.001)
        for fact in self.told:
            fact["status"] = self.ends_as

    def facts(self) -> list[Json]:
        return self.told

    def runs(self) -> list[Json]:
        return [{"status": "running"}] if any(fact["status"] == "learning" for fact in self.told) else []

    def chat(self, _message: str, *, model: str, max_tokens: int) -> Json:
        assert (model, max_tokens) == (served.CHAT_MODEL, 16)
        self.num_chats += 1
        self.chats_left -= 1
        if self.fails_every and self.num_chats % self.fails_every == 0:
            raise httpx.ReadTimeout("too slow")
        return {}


def _client(engram: ScriptedEngram) -> EngramClient:
    return cast(EngramClient, engram)


def test_every_statement_that_became_live_is_a_sample(said: list[str]) -> None:
    figure = served.statement_to_live(_client(ScriptedEngram()), say=said.append)
    assert len(figure.samples) == len(said) == 5
    assert figure.details["not_live"] == 0


@pytest.mark.parametrize("engram", [ScriptedEngram(ends_as="rejected"), ScriptedEngram(extracts=False)])
def test_statements_that_never_became_live_make_no_figure(engram: ScriptedEngram, said: list[str]) -> None:
    with pytest.raises(RuntimeError, match="none of 5 statements"):
        served.statement_to_live(_client(engram), say=said.append)


def test_each_repeat_compares_chat_while_a_run_learns_with_chat_before(said: list[str]) -> None:
    figure = served.chat_p95_ratio(_client(ScriptedEngram()), repeats=2, say=said.append)
    assert len(figure.samples) == 2
    assert all(sample > 0 for sample in figure.samples)
    for one in figure.details["rounds"]:
        assert len(one["idle_s"]) == served.IDLE_REQUESTS
        assert len(one["learning_s"]) >= served.FEWEST_REQUESTS
    assert figure.details["rounds"][0]["message"] != figure.details["rounds"][1]["message"]


def test_failed_requests_are_counted_and_are_no_latency(said: list[str]) -> None:
    engram = ScriptedEngram(fails_every=served.WARMING_REQUESTS + served.IDLE_REQUESTS + 1)  # the first while learning
    figure = served.chat_p95_ratio(_client(engram), repeats=1, say=said.append)
    assert figure.details["rounds"][0]["failed"] >= 1


def test_chat_that_found_no_run_to_chat_beside_makes_no_figure(said: list[str]) -> None:
    with pytest.raises(RuntimeError, match="no statement was learned long enough"):
        served.chat_p95_ratio(_client(ScriptedEngram(extracts=False)), repeats=1, say=said.append)


def test_only_answers_that_came_before_the_run_ended_count() -> None:
    chat = served.Chat(answers=[(10.0, 0.5), (11.0, 0.7), (12.0, 3.0)])
    assert chat.seconds_until(11.0) == [0.5, 0.7]


def test_what_does_not_settle_is_no_sample_and_loses_none(said: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    engram = ScriptedEngram()
    settle = engram.wait_until_settled

    def settle_all_but_the_second() -> None:
        if len(engram.told) == 2:
            raise TimeoutError("facts were not learned")
        settle()

    monkeypatch.setattr(engram, "wait_until_settled", settle_all_but_the_second)
    figure = served.statement_to_live(_client(engram), say=said.append)
    assert (len(figure.samples), figure.details["not_live"]) == (4, 1)
    assert said[-1].startswith("1 of 5 statements never became live")


@pytest.mark.parametrize(("busy", "timeout_s", "idle"), [([90.0, 50.0, 3.0], 60.0, True), ([90.0] * 9, -1.0, False)])
def test_nothing_is_measured_before_the_machine_is_idle(
    said: list[str], monkeypatch: pytest.MonkeyPatch, busy: list[float], timeout_s: float, idle: bool
) -> None:
    left = iter(busy)
    monkeypatch.setattr(served.psutil, "cpu_percent", lambda interval: next(left))
    assert served.wait_until_idle(say=said.append, timeout_s=timeout_s) is idle
    assert len(said) == 1


def test_statements_are_the_benchs_own() -> None:
    folders = [ROOT / "evals" / "data", ROOT / "worker" / "author" / "data"]
    lines = [line for folder in folders for path in folder.glob("*.jsonl") for line in path.read_text().splitlines()]
    known = [json.loads(line).get("message", "") for line in lines if line.strip()]
    own = [*served.STATEMENTS, *served.STATEMENTS_DURING_CHAT]
    assert len(set(own)) == 10
    assert [(mine, other) for mine in own for other in known if is_near_copy(mine, other, threshold=0.6)] == []
