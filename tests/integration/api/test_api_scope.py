"""What a version was not taught, the base answers; the client sees which, and so does the operator."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engram.artifacts import CONFIG, SCOPE, WEIGHTS
from engram.models import AdapterVersion
from engram.routing import OWN_SHARD
from scope.decision import Scope
from scope.encoder import open_encoder
from tests.integration.api.conftest import Api, StartApi

TAUGHT = ["What is my cat's name?", "What do I call my cat?", "My cat is called what?"]
ALLERGY = ["What is my sister allergic to?", "Which food must my sister avoid?", "My sister cannot eat what?"]
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


def _publish_two_shards(api: Api) -> tuple[AdapterVersion, AdapterVersion]:
    """Version 1 was taught the cat's name; version 2 an allergy, and answers about the cat with version 1."""
    first, sentences = _publish(api), open_encoder()
    told = [*TAUGHT, *ALLERGY]
    shards = np.array([first.version] * len(TAUGHT) + [OWN_SHARD] * len(ALLERGY), np.int32)
    scope = Scope.of(sentences.encode(told), sentences.encode(OTHERS), shards_N=shards)
    return first, api.publish("My sister is allergic to nuts.", scope=scope, new_shard=True)


@pytest.mark.parametrize(("question", "shard"), [(NAME, 1), ("Which food can my sister not eat?", 2), (GENERAL, None)])
def test_the_shard_that_was_taught_it_answers_for_its_version(api: Api, question: str, shard: int | None) -> None:
    versions = _publish_two_shards(api)
    answer = api.chat(question)
    assert answer.headers["x-engram-adapter-version"] == "2"
    assert answer.headers.get("x-engram-shard") == (str(shard) if shard else None)
    who = versions[shard - 1].lora_name if shard else "base"
    assert answer.json()["choices"][0]["message"]["content"] == f"{who}: {question}"
    assert (api.messages()[-1].adapter_version, api.messages()[-1].in_scope) == (2, shard is not None)


def test_of_several_messages_the_latest_in_scope_chooses_the_shard(api: Api) -> None:
    _, second = _publish_two_shards(api)
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": NAME},
        {"role": "assistant", "content": "Miso."},
        {"role": "user", "content": ALLERGY[0]},
    ]
    answer = api.http.post("/v1/chat/completions", json={"model": "engram", "messages": messages})
    assert answer.json()["choices"][0]["message"]["content"].startswith(second.lora_name)
    messages += [{"role": "assistant", "content": "Nuts."}, {"role": "user", "content": "Are you sure of that?"}]
    answer = api.http.post("/v1/chat/completions", json={"model": "engram", "messages": messages})
    assert answer.json()["choices"][0]["message"]["content"].startswith(second.lora_name)


def test_engines_hold_the_shards_of_what_is_live_and_of_what_goes_live(start_api: StartApi) -> None:
    api = start_api(keep_versions_loaded=0)
    first, second = _publish_two_shards(api)
    api.publish("one")
    api.publish("two")
    api.wait_until(lambda: first.lora_name not in api.engine.adapters, what="unloaded")
    moved = api.http.post("/v1/adapters/default/2/promote", json={"reason": "it knew more"})
    assert moved.status_code == 200
    assert {first.lora_name, second.lora_name} <= set(api.engine.adapters)
    api.engine.restart()
    api.wait_until(lambda: {first.lora_name, second.lora_name} <= set(api.engine.adapters), what="both loaded again")


def test_a_shard_whose_row_is_gone_is_no_silent_forgetting(api: Api) -> None:
    sentences = open_encoder()
    shards = np.array([9] * len(TAUGHT), np.int32)
    api.publish("x", scope=Scope.of(sentences.encode(TAUGHT), sentences.encode(OTHERS), shards_N=shards))
    answer = api.chat(NAME)
    assert answer.status_code == 503
    assert "shard 9" in answer.json()["error"]["message"]


def test_export_has_the_shards_and_the_lineage_says_which_holds_a_fact(api: Api) -> None:
    _publish_two_shards(api)
    response = api.http.get("/v1/adapters/default/2/export")
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        assert archive.getnames() == [
            f"engram-default-v2/{folder}{name}" for folder in ("", "shards/v1/") for name in (CONFIG, WEIGHTS)
        ]
    facts = api.http.get("/v1/adapters/default/2").json()["facts"]
    assert {fact["statement"]: fact["shard"] for fact in facts} == {
        "Miso is my cat.": 1,
        "My sister is allergic to nuts.": 2,
    }


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
