"""Bad input gets a clear 4xx in OpenAI's shape, never a 5xx, and nothing of it is stored."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.api.conftest import Api

HELLO = [{"role": "user", "content": "hi"}]


def assert_error(response: httpx.Response, status: int, code: str | None = None, param: str | None = None) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    if code is not None:
        assert error["code"] == code
    if param is not None:
        assert error["param"] == param


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b'{"model": "engram", "messages": [{"role": "user", "content": "\xff"}]}',
        b"[" * 50_000,
        b'{"model": "engram", "messages": [{"role": "user", "content": "hi"}], "x": ' + b"[" * 900 + b"]" * 900 + b"}",
        b'{"model": "engram", "messages": [{"role": "user", "content": "hi"}], "temperature": NaN}',
        b'{"model": "engram", "messages": [{"role": "user", "content": "hi"}], "temperature": 1e999}',
        b'{"model": "engram", "messages": [{"role": "user", "content": "\\ud800"}]}',
        b'{"model": "engram", "messages": [{"role": "user", "content": "a\\u0000b"}]}',
        b'{"model": "engram", "messages": [], "x": 1}',
        b'{"model": "engram"}',
        b'{"messages": [{"role": "user", "content": "hi"}]}',
        b'{"model": 7, "messages": [{"role": "user", "content": "hi"}]}',
        b'{"model": "engram", "messages": [{"role": "king", "content": "hi"}]}',
        b'{"model": "engram", "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}',
        b'{"model": "engram", "messages": [{"role": "user", "content": [{"type": "text"}]}]}',
        b'{"model": "engram", "messages": ["hi"]}',
    ],
)
def test_malformed_chat_body_is_a_400(shared_api: Api, body: bytes) -> None:
    response = shared_api.http.post("/v1/chat/completions", content=body, headers={"Content-Type": "application/json"})
    assert_error(response, 400)
    assert shared_api.messages() == []


def test_oversized_body_is_a_413_with_and_without_a_length(shared_api: Api) -> None:
    body = b'{"model": "engram", "messages": [{"role": "user", "content": "' + b"x" * 1_100_000 + b'"}]}'

    def chunked() -> Iterator[bytes]:
        for start in range(0, len(body), 65_536):
            yield body[start : start + 65_536]

    headers = {"Content-Type": "application/json"}
    for content in (body, chunked()):
        response = shared_api.http.post("/v1/chat/completions", content=content, headers=headers)
        assert_error(response, 413, "request_too_large")
    assert shared_api.messages() == []


@pytest.mark.parametrize(
    "model",
    ["gpt-4", "engram@99", "engram@-1", "engram@01", "engram@1/../2", "../etc/passwd", "sp_1-v1-abc", "x" * 500],
)
def test_unknown_models_and_versions_are_refused(shared_api: Api, model: str) -> None:
    response = shared_api.chat("hi", model=model)
    assert response.status_code in (400, 404)
    assert_error(response, response.status_code, param="model")
    assert shared_api.messages() == []


@pytest.mark.parametrize("user", ["", "a/b", "../x", "a b", "x" * 129, "naïve", "a\\b", "a\nb", "%2e%2e"])
def test_bad_space_names_are_refused(shared_api: Api, user: str) -> None:
    assert_error(shared_api.chat("hi", user=user), 400, param="user")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/chat/completions", 405),
        ("PUT", "/v1/facts", 405),
        ("GET", "/v1/facts/fact_0", 404),
        ("GET", "/v1/facts/%00", 400),
        ("GET", "/v1/facts?q=%00", 400),
        ("GET", "/v1/facts?space=nobody", 404),
        ("GET", "/v1/facts?space=../x", 400),
        ("GET", "/v1/facts?limit=0", 400),
        ("GET", "/v1/facts?limit=201", 400),
        ("GET", "/v1/facts?status=best", 400),
        ("GET", "/v1/learning-runs?space=nobody", 404),
        ("GET", "/v1/learning-runs/run_0", 404),
        ("GET", "/v1/learning-runs/run_0/events", 404),
        ("GET", "/v1/adapters?space=nobody", 404),
        ("GET", "/v1/adapters/nobody/1", 404),
        ("GET", "/v1/adapters/default/99999999999999999999", 400),
        ("GET", "/v1/adapters/default/-1", 400),
        ("GET", "/v1/adapters/default/x", 400),
        ("GET", "/v1/adapters/..%2f..%2fetc/1/export", 404),
        ("GET", "/v1/adapters/a%20b/1/export", 400),
        ("GET", "/v1/adapters/%2e%2e/1/export", 404),
        ("GET", "/v1/models/gpt-4", 404),
        ("DELETE", "/v1/facts/fact_0", 404),
    ],
)
def test_bad_addresses_are_4xx_in_openais_shape(shared_api: Api, method: str, path: str, status: int) -> None:
    assert_error(shared_api.http.request(method, path), status)


@pytest.mark.parametrize(
    "body",
    [
        {"statement": ""},
        {"statement": "   \n"},
        {"statement": "?!"},
        {"statement": "word " * 10_000},
        {"statement": "word " * 301},
        {"statement": "x" * 2001},
        {"statement": "a\0b"},
        {"statement": 7},
        {},
        {"statement": "My cat is Miso.", "extra": 1},
        {"statement": "My cat is Miso.", "space": "../x"},
        {"statement": "My cat is Miso.", "probes": []},
        {"statement": "My cat is Miso.", "probes": [{"question": "Who?", "answer": " "}]},
        {"statement": "My cat is Miso.", "probes": [{"question": "Who?", "answer": "Miso"}] * 21},
    ],
)
def test_bad_statements_are_a_400_and_store_nothing(shared_api: Api, body: dict[str, Any]) -> None:
    assert_error(shared_api.http.post("/v1/facts", json=body), 400)
    assert shared_api.http.get("/v1/facts").json() == {"data": [], "next": None}


def test_unexpected_error_is_a_500_in_openais_shape(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(api.database, "read", fail)
    response = api.http.get("/v1/facts")
    assert_error(response, 500, "internal_error")
    assert "a bug" not in response.text
    monkeypatch.undo()
    assert api.http.get("/v1/facts").status_code == 200


def test_database_that_cannot_be_used_is_a_503_with_retry_after(api: Api) -> None:
    with api.database.transaction() as session:
        session.connection().exec_driver_sql("DROP TABLE messages")
    response = api.chat("hi")
    assert_error(response, 503, "database_unavailable")
    assert int(response.headers["retry-after"]) > 0


def test_body_that_is_not_sent_as_json_is_told_so(shared_api: Api) -> None:
    response = shared_api.http.post("/v1/facts", data={"statement": "My cat is Miso."})
    assert_error(response, 400)
    assert "application/json" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example:8000"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_without_auth_other_sites_are_turned_away(shared_api: Api, headers: dict[str, str]) -> None:
    assert_error(shared_api.http.get("/v1/facts", headers=headers), 403, "foreign_origin")


@pytest.mark.parametrize(
    "headers", [{"Host": "localhost:1"}, {"Host": "[::1]:80"}, {"Origin": "http://localhost:3000"}]
)
def test_without_auth_this_machines_own_pages_are_let_in(shared_api: Api, headers: dict[str, str]) -> None:
    assert shared_api.http.get("/v1/facts", headers=headers).status_code == 200
