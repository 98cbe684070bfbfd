"""Chat through the official client: it must work unchanged, and nothing said may get lost."""

import json

import httpx
import openai
import pytest

from engram.lifecycle import AdapterStatus, advance_adapter
from engram.models import AdapterVersion
from engram.repositories import ChatRepository
from tests.integration.api.conftest import Api, StartApi

HELLO = [{"role": "user", "content": "my cat is called Miso"}]


def test_official_client_gets_an_answer_and_the_version_that_gave_it(api: Api) -> None:
    answer = api.openai.chat.completions.with_raw_response.create(model="engram", messages=HELLO, user="alice")
    assert answer.headers["x-engram-space"] == "alice"
    assert answer.headers["x-engram-adapter-version"] == "0"
    completion = answer.parse()
    assert completion.model == "engram"
    assert completion.choices[0].message.content == "base: my cat is called Miso"
    assert completion.usage is not None
    assert completion.usage.completion_tokens == 6
    assert completion.model_extra == {
        "engram": {"space": "alice", "adapter_version": 0, "facts_in_context": []},
    }


def test_official_client_streams_with_usage(api: Api) -> None:
    version = api.publish("Miso is my cat.")
    stream = api.openai.chat.completions.create(
        model="engram", messages=HELLO, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text == f"{version.lora_name}: my cat is called Miso"
    assert chunks[0].model_extra == {"engram": {"space": "default", "adapter_version": 1, "facts_in_context": []}}
    assert {chunk.model for chunk in chunks} == {"engram"}
    assert chunks[-1].usage is not None
    assert chunks[-1].choices == []


def test_messages_are_stored_with_the_version_and_the_user_message_is_extracted(api: Api) -> None:
    api.publish("Miso is my cat.")
    api.openai.chat.completions.create(model="engram", messages=HELLO)
    user, assistant = api.messages()
    assert (user.role, user.content, user.extraction) == ("user", "my cat is called Miso", "pending")
    assert (assistant.role, assistant.adapter_version, assistant.extraction) == ("assistant", 1, None)
    assert api.rung() == [("extract", user.id)]


def test_conversation_continues_and_stores_only_what_is_new(api: Api) -> None:
    client = api.openai
    first = client.chat.completions.create(
        model="engram", messages=[{"role": "system", "content": "It is 10:00."}, *HELLO]
    )
    answer = {"role": "assistant", "content": first.choices[0].message.content}
    more = [{"role": "system", "content": "It is 10:01."}, *HELLO, answer, {"role": "user", "content": "and a dog"}]
    list(client.chat.completions.create(model="engram", messages=more, stream=True))
    messages = api.messages()
    assert [m.content for m in messages if m.role == "user"] == ["my cat is called Miso", "and a dog"]
    assert len({m.conversation_id for m in messages}) == 1


def test_unknown_history_is_stored_whole_and_said_again_is_not_extracted_again(api: Api) -> None:
    history = [*HELLO, {"role": "assistant", "content": "elsewhere"}, {"role": "user", "content": "I like tea"}]
    api.openai.chat.completions.create(model="engram", messages=history)
    api.openai.chat.completions.create(
        model="engram", messages=[*history, {"role": "assistant", "content": "cut"}, {"role": "user", "content": "ok"}]
    )
    said = [(m.content, m.extraction) for m in api.messages() if m.role == "user"]
    assert said == [
        ("my cat is called Miso", "pending"),
        ("I like tea", "pending"),
        ("my cat is called Miso", None),
        ("I like tea", None),
        ("ok", "pending"),
    ]


def test_what_was_erased_stays_so_when_a_client_sends_its_old_history(api: Api) -> None:
    assert api.chat("my cat is Biscuit").status_code == 200
    with api.database.transaction() as session:
        ChatRepository(session).erase_exchange(api.messages()[0].id)
    before = len(api.messages())
    history = [*HELLO, {"role": "assistant", "content": "elsewhere"}, {"role": "user", "content": "my cat is Biscuit"}]
    again = [{"role": "assistant", "content": "cut"}, {"role": "user", "content": "ok"}]
    api.openai.chat.completions.create(model="engram", messages=[*history, *again])
    added = [message for message in api.messages()[before:] if message.role == "user"]
    assert [(message.content, bool(message.extraction)) for message in added] == [
        (HELLO[0]["content"], True),
        ("", False),
        ("ok", True),
    ]
    api.openai.chat.completions.create(model="engram", messages=history)  # said anew, as the last word
    assert api.messages()[-2].content == "my cat is Biscuit"
    assert api.messages()[-2].extraction


def test_base_bypasses_memory_and_is_not_extracted(api: Api) -> None:
    api.publish("Miso is my cat.")
    answer = api.chat("I live in Rome", model="base")
    assert answer.headers["x-engram-adapter-version"] == "0"
    assert answer.json()["model"] == "base"
    user, assistant = api.messages()
    assert (user.extraction, assistant.adapter_version) == (None, 0)
    assert api.rung() == []


def test_content_as_text_parts_is_stored_as_text(api: Api) -> None:
    parts = [{"type": "text", "text": "I have"}, {"type": "text", "text": "a boat"}]
    api.openai.chat.completions.create(model="engram", messages=[{"role": "user", "content": parts}])
    assert api.messages()[0].content == "I have\na boat"
    assert api.engine.requests[-1]["messages"][0]["content"] == parts


def test_engine_gets_extra_fields_but_nothing_dangerous(api: Api) -> None:
    dangerous = {"priority": -9, "vllm_xargs": {"a": 1}, "lora_request": {"x": 1}, "cache_salt": "s", "user": "bob"}
    response = api.http.post(
        "/v1/chat/completions",
        json={"model": "engram", "messages": HELLO, "top_k": 5, "seed": 7, **dangerous},
        headers={"X-Vllm-Priority": "-9", "X-Request-Id": "mine"},
    )
    assert response.status_code == 200
    body, headers = api.engine.requests[-1], api.engine.headers[-1]
    assert (body["top_k"], body["seed"], body["model"], body["max_tokens"]) == (5, 7, "base", 512)
    assert not set(dangerous) & set(body)
    assert not {"x-vllm-priority", "x-request-id"} & set(headers)


def test_tools_that_the_model_may_ignore_are_left_out_and_forced_ones_kept(api: Api) -> None:
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
    assert api.chat("hi", tools=[tool]).status_code == 200
    assert "tools" not in api.engine.requests[-1]
    assert api.chat("hi", tools=[tool], tool_choice="required").status_code == 200
    assert api.engine.requests[-1]["tools"] == [tool]


@pytest.mark.parametrize("named", [{"max_tokens": 3}, {"max_completion_tokens": 3}])
def test_length_that_the_client_names_is_kept(api: Api, named: dict[str, int]) -> None:
    assert api.chat("hi", **named).status_code == 200
    sent = api.engine.requests[-1]
    assert {key: sent.get(key) for key in named} == named
    assert ("max_tokens" in sent) == ("max_tokens" in named)


@pytest.mark.parametrize(("named", "sent"), [({}, 0.2), ({"temperature": None}, 0.2), ({"temperature": 1.3}, 1.3)])
def test_temperature_is_the_settings_unless_the_client_names_one(
    api: Api, named: dict[str, float], sent: float
) -> None:
    assert api.chat("hi", **named).status_code == 200
    assert api.engine.requests[-1]["temperature"] == sent


def test_default_length_never_makes_a_request_too_long(api: Api) -> None:
    api.engine.answer = "word " * 600
    answer = api.chat("word " * 2000).json()
    assert (answer["usage"]["completion_tokens"], api.engine.requests[-1]["max_tokens"]) == (48, 512)


def test_context_overflow_is_a_400_in_openais_shape(api: Api) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        api.openai.chat.completions.create(model="engram", messages=[{"role": "user", "content": "word " * 3000}])
    assert caught.value.code == "context_length_exceeded"
    assert len(api.messages()) == 1  # what the user said is kept


def test_pinned_version_answers_and_unservable_ones_do_not(api: Api) -> None:
    first, second = api.publish("one"), api.publish("two")
    assert api.chat("hi", model="engram@1").json()["choices"][0]["message"]["content"] == f"{first.lora_name}: hi"
    assert api.chat("hi").headers["x-engram-adapter-version"] == "2"
    assert api.chat("hi", model="engram@0").headers["x-engram-adapter-version"] == "0"
    with api.database.transaction() as session:
        row = session.get(AdapterVersion, first.id)
        assert row is not None
        advance_adapter(row, to=AdapterStatus.WITHDRAWN)
    refused = api.chat("hi", model="engram@1")
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "model_not_found")
    models = [model.id for model in api.openai.models.list()]
    assert models == ["engram", "base", f"engram@{second.version}"]
    assert api.openai.models.retrieve("engram").id == "engram"


def test_adapter_that_the_engine_lost_is_loaded_and_the_request_answered(start_api: StartApi) -> None:
    api = start_api()
    version = api.publish("Miso is my cat.")
    api.wait_until(lambda: version.lora_name in api.engine.adapters, what="loaded")
    for _ in range(20):  # against the reconciler, which would bring it back by itself
        api.engine.restart()
        assert api.chat("hi").json()["choices"][0]["message"]["content"] == f"{version.lora_name}: hi"


def test_engine_failure_in_a_stream_is_an_error_event_and_a_retry_stores_nothing_twice(api: Api) -> None:
    for fault in ("fail_after", "cut_after"):
        setattr(api.engine.faults, fault, 3)
        with pytest.raises((openai.APIError,)) as caught:
            list(api.openai.chat.completions.create(model="engram", messages=HELLO, stream=True))
        assert "engine" in str(caught.value)
        setattr(api.engine.faults, fault, None)
    list(api.openai.chat.completions.create(model="engram", messages=HELLO, stream=True))
    messages = api.messages()
    assert [m.content for m in messages if m.role == "user"] == ["my cat is called Miso"]
    assert messages[-1].content == "base: my cat is called Miso"


def test_client_that_goes_away_leaves_its_message_and_what_it_was_sent(api: Api) -> None:
    api.engine.faults.token_delay_s = 0.1
    api.engine.answer = "word " * 100
    body = {"model": "engram", "messages": HELLO, "stream": True}
    with httpx.stream("POST", f"{api.url}/v1/chat/completions", json=body, trust_env=False) as response:
        lines = response.iter_lines()
        while "word" not in next(lines):
            pass
    api.wait_until(lambda: len(api.messages()) == 2, what="the partial answer is stored", timeout_s=3)
    assert 0 < len(api.messages()[1].content) < 200


def test_stream_survives_line_separators_in_text(api: Api) -> None:
    api.engine.answer = "one\u2028two three\x85four"
    stream = api.openai.chat.completions.create(model="engram", messages=HELLO, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in stream) == api.engine.answer
    assert api.messages()[1].content == api.engine.answer


def test_stream_ends_with_done_and_its_data_is_json(api: Api) -> None:
    body = {"model": "engram", "messages": HELLO, "stream": True}
    answer = api.http.post("/v1/chat/completions", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, done, rest = answer.text.split("\n\n")
    assert (done, rest) == ("data: [DONE]", "")
    assert all(json.loads(event.removeprefix("data: "))["object"] == "chat.completion.chunk" for event in events)
