"""Talk to a running Engram over its REST API. Knows paths and errors; prints nothing."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

TIMEOUT_S = 180.0
Json = dict[str, Any]


class CliError(Exception):
    """Something to tell the operator in one line."""


@dataclass(frozen=True, slots=True)
class ServerSentEvent:
    """One event of a stream; `id` is where a stream that broke can go on."""

    name: str
    data: str
    id: str


@dataclass(frozen=True, slots=True)
class Api:
    """One server, seen as one memory space."""

    http: httpx.Client
    space: str

    def get(self, path: str, **params: Any) -> Json:
        return self._json("GET", path, params={name: value for name, value in params.items() if value is not None})

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> Json:
        return self._json("POST", path, json=dict(body or {}))

    def patch(self, path: str, body: Mapping[str, Any]) -> Json:
        return self._json("PATCH", path, json=dict(body))

    def delete(self, path: str) -> None:
        self._json("DELETE", path)

    def items(self, path: str, *, limit: int | None = None, **params: Any) -> list[Json]:
        """Items of a list, newest first, across its pages; all of them without a `limit`."""
        found: list[Json] = []
        cursor: str | None = None
        while True:
            page = self.get(path, limit=min(limit - len(found), 200) if limit else 200, cursor=cursor, **params)
            found += page["data"]
            cursor = page.get("next")
            if cursor is None or (limit and len(found) >= limit):
                return found

    def chat(self, messages: list[Json], *, model: str, max_tokens: int | None = None) -> Json:
        """One whole answer, with its `engram` field."""
        return self.post("/v1/chat/completions", self._chat_body(messages, model, max_tokens))

    def stream_chat(self, messages: list[Json], *, model: str) -> Iterator[str]:
        """The pieces of an answer as they come."""
        body = {**self._chat_body(messages, model, None), "stream": True}
        with self._stream("POST", "/v1/chat/completions", json=body) as response:
            for event in server_sent_events(response.iter_lines()):
                if event.data == "[DONE]":
                    return
                choices = json.loads(event.data).get("choices") or []
                yield from (choice["delta"].get("content") or "" for choice in choices)

    def run_events(self, run_id: str, *, after: str = "") -> Iterator[ServerSentEvent]:
        """A run's progress events after the id `after`, until the server ends the stream. `data` is JSON."""
        headers = {"Last-Event-ID": after} if after else {}
        with self._stream("GET", f"/v1/learning-runs/{segment(run_id)}/events", headers=headers) as response:
            yield from server_sent_events(response.iter_lines())

    def download(self, path: str, target: Path) -> int:
        """Save an answer's body; the number of bytes. The file appears complete or not at all."""
        partial = target.with_name(f"{target.name}.part")
        with self._stream("GET", path) as response, partial.open("wb") as file:
            for chunk in response.iter_bytes():
                file.write(chunk)
        partial.rename(target)
        return target.stat().st_size

    def _chat_body(self, messages: list[Json], model: str, max_tokens: int | None) -> Json:
        # Greedy: at temperature 1, OpenAI's default, a small base strays from what it knows.
        body: Json = {"model": model, "messages": messages, "user": self.space, "temperature": 0}
        return {**body, "max_tokens": max_tokens} if max_tokens else body

    def _json(self, method: str, path: str, **options: Any) -> Json:
        with self._telling_when_down():
            response = self.http.request(method, path, **options)
        _check(response)
        answer: Json = response.json() if response.content else {}
        return answer

    @contextmanager
    def _stream(self, method: str, path: str, **options: Any) -> Iterator[httpx.Response]:
        with self._telling_when_down(), self.http.stream(method, path, **options) as response:
            if response.is_error:
                response.read()
            _check(response)
            yield response

    @contextmanager
    def _telling_when_down(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError as error:
            raise CliError(f"no Engram answers at {self.http.base_url}; start one with `engram up`") from error
        except httpx.TransportError as error:
            raise CliError(f"the connection to {self.http.base_url} broke: {type(error).__name__}") from error


def open_api(url: str, *, key: str | None, space: str) -> Api:
    """A client for the server at `url`. Raises CliError for what is no URL."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    if not url.startswith(("http://", "https://")):
        raise CliError(f"{url!r} is no address; it looks like http://127.0.0.1:8000")
    try:
        return Api(httpx.Client(base_url=url, headers=headers, timeout=TIMEOUT_S, trust_env=False), space)
    except httpx.InvalidURL as error:
        raise CliError(f"{url!r} is no address: {error}") from error


def segment(value: object) -> str:
    """`value` as one segment of a path."""
    return quote(str(value), safe="")


def server_sent_events(lines: Iterator[str]) -> Iterator[ServerSentEvent]:
    """The events of a stream. Comments, which keep a connection open, are left out."""
    name, data, event_id = "message", list[str](), ""
    for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            if data:
                yield ServerSentEvent(name, "\n".join(data), event_id)
            name, data = "message", []
        elif field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            event_id = value


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        message = response.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = response.text[:200] or response.reason_phrase
    raise CliError(f"{message} ({response.status_code})")
