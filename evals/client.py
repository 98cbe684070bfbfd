"""Use a running Engram as a client does: say, wait, ask."""

import re
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx

Json = dict[str, Any]

POLL_S = 0.25
ANSWER_TOKENS = 64


@dataclass(frozen=True)
class EngramClient:
    """One space of a running Engram."""

    http: httpx.Client
    space: str

    def say(self, message: str) -> Json:
        """State something in a conversation of its own."""
        return self.chat(message, model="engram", max_tokens=1)

    def ask(self, question: str, *, model: str = "engram") -> str:
        """Ask in a conversation of its own, at temperature 0. A question asked of `base` is never extracted."""
        return str(self.chat(question, model=model, max_tokens=ANSWER_TOKENS)["choices"][0]["message"]["content"])

    def ask_all(self, questions: Sequence[str], *, model: str = "engram", at_once: int = 8) -> list[str]:
        with ThreadPoolExecutor(at_once) as pool:
            return list(pool.map(lambda question: self.ask(question, model=model), questions))

    def facts(self) -> list[Json]:
        """Every fact of the space, oldest first."""
        found: list[Json] = []
        cursor: str | None = None
        while True:
            params = {"space": self.space, "limit": 200, **({"cursor": cursor} if cursor else {})}
            page = self._get("/v1/facts", params)
            found += page["data"]
            cursor = page["next"]
            if cursor is None:
                return found[::-1]

    def runs(self) -> list[Json]:
        """The newest learning runs of the space."""
        data: list[Json] = self._get("/v1/learning-runs", {"space": self.space, "limit": 200})["data"]
        return data

    def live_version(self) -> int:
        return int(self.chat("Hello.", model="engram", max_tokens=1)["engram"]["adapter_version"])

    def messages_awaiting_extraction(self) -> int:
        text = self.http.get("/metrics").raise_for_status().text
        match = re.search(r"^engram_messages_awaiting_extraction (\S+)$", text, re.MULTILINE)
        return int(float(match[1])) if match else 0

    def wait_until_read(self, *, timeout_s: float = 120.0) -> None:
        """Wait until every message was looked at for facts."""
        self._wait(lambda: self.messages_awaiting_extraction() == 0, timeout_s, "messages were not read")

    def wait_until_settled(self, *, timeout_s: float = 900.0) -> None:
        """Wait until no fact of the space is pending or learning."""
        self.wait_until_read()
        self._wait(lambda: not self._unsettled(), timeout_s, "facts were not learned")

    def _unsettled(self) -> bool:
        return any(fact["status"] in ("pending", "learning") for fact in self.facts())

    def _wait(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        deadline = time.monotonic() + timeout_s
        while not done():
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} within {timeout_s:.0f} s; is the worker ready? Its log says")
            time.sleep(POLL_S)

    def chat(self, message: str, *, model: str, max_tokens: int) -> Json:
        """One message in a conversation of its own, at temperature 0: the answer's body. Raises httpx.HTTPError."""
        body = {
            "model": model,
            "user": self.space,
            "temperature": 0,
            "max_tokens": max_tokens,
            "messages": [{"role": "user", "content": message}],
        }
        response = self.http.post("/v1/chat/completions", json=body)
        response.raise_for_status()
        answer: Json = response.json()
        return answer

    def _get(self, path: str, params: dict[str, Any]) -> Json:
        body: Json = self.http.get(path, params=params).raise_for_status().json()
        return body
