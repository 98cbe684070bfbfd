"""What a version was not taught, the base answers; the client sees which, and so does the operator."""

import json
from pathlib import Path
from typing import Any

import pytest

from engram.artifacts import SCOPE
from engram.models import AdapterVersion
from scope.decision import Scope
from scope.encoder import open_encoder
from tests.integration.api.conftest import Api

TAUGHT = ["What is my cat's name?", "What do I call my cat?", "My cat is called what?"]
OTHERS = ["What is the capital of Spain?", "Write a poem about autumn.", "Where does my uncle live?", "Hello!"]
NAME, GENERAL = "How did I name my cat?", "What is the capital of Norway?"


def _publish(api: Api) -> AdapterVersion:
    """A live version that was taught the cat's name."""
    sentences = open_encoder()
    return api.publish("Miso is my cat.", scope=Scope.of(sentences.encode(TAUGHT), sentences.encode(OTHERS)))


@pytest.mark.parametrize(("question", "inside"), [(NAME, True), (GENERAL, False)])
def test_the_version_answers_what_it_was_taught_and_the_base_all_else(api: Api, question: str, inside: bool) -> None:
    version = _publish(api)
    answer = api.chat(question)
    assert answer.headers["x-engram-scope"] == ("in" if inside else "out")
    assert answer.headers["x-engram-adapter-version"] == str(version.version)
    who = version.lora_name if inside else "base"
    assert answer.json()["choices"][0]["message"]["content"] == f"{who}: {question}"
    stored = api.messages()[-1]
    assert (stored.adapter_version, stored.in_scope) == (version.version, inside)
    assert f'engram_chat_scope_total{{scope="{"in" if inside else "out"}"}} 1.0' in api.http.get("/metrics").text


def test_a_pinned_version_has_its_scope_too_and_streams(api: Api) -> None:
    version = _publish(api)
    body = {"model": f"engram@{version.version}", "stream": True, "messages": [{"role": "user", "content": GENERAL}]}
    with api.http.stream("POST", "/v1/chat/completions", json=body) as response:
        assert response.headers["x-engram-scope"] == "out"
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line.startswith("data: {")]
    text = "".join(json.loads(line)["choices"][0]["delta"].get("content") or "" for line in lines)
    assert text == f"base: {GENERAL}"


def test_a_question_that_leans_on_one_in_scope_is_in_scope(api: Api) -> None:
    version = _publish(api)
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": NAME},
        {"role": "assistant", "content": "Miso."},
        {"role": "user", "content": "And is that a good name?"},
    ]
    answer = api.http.post("/v1/chat/completions", json={"model": "engram", "messages": messages})
    assert answer.headers["x-engram-scope"] == "in"
    assert answer.json()["choices"][0]["message"]["content"].startswith(version.lora_name)


def test_the_base_and_a_version_without_a_scope_say_nothing_of_it_or_answer_all(api: Api) -> None:
    assert "x-engram-scope" not in api.chat(GENERAL).headers
    assert api.messages()[-1].in_scope is None
    version = api.publish("Miso is my cat.")
    answer = api.chat(GENERAL)
    assert answer.headers["x-engram-scope"] == "in"
    assert answer.json()["choices"][0]["message"]["content"].startswith(version.lora_name)


def test_a_scope_that_cannot_be_read_is_no_silent_forgetting(api: Api) -> None:
    version = _publish(api)
    (Path(version.path) / SCOPE).write_bytes(b"damaged")
    answer = api.chat(NAME)
    assert answer.status_code == 503
    assert SCOPE in answer.json()["error"]["message"]
    assert api.chat(NAME, model="base").status_code == 200
