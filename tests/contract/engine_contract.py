"""What Engram relies on in a vLLM replica. The fake and the real one are held to the same."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

HELLO = [{"role": "user", "content": "Say hello."}]


class EngineContract:
    """Subclasses give the fixtures `engine_url` and `adapter`, a folder with a LoRA that fits the base."""

    @pytest.fixture
    def http(self, engine_url: str) -> Any:
        with httpx.Client(base_url=engine_url, timeout=120, trust_env=False) as client:
            yield client

    @pytest.fixture
    def loaded(self, http: httpx.Client, adapter: Path) -> Any:
        http.post("/v1/load_lora_adapter", json={"lora_name": "sp_1-v1", "lora_path": str(adapter)}).raise_for_status()
        yield "sp_1-v1"
        http.post("/v1/unload_lora_adapter", json={"lora_name": "sp_1-v1"})

    def test_is_healthy_and_lists_the_base(self, http: httpx.Client) -> None:
        assert http.get("/health").status_code == 200
        models = http.get("/v1/models").json()["data"]
        assert [model["id"] for model in models] == ["base"]
        assert models[0]["root"]

    def test_loaded_adapter_is_listed_with_its_path_as_root(
        self, http: httpx.Client, loaded: str, adapter: Path
    ) -> None:
        models = {model["id"]: model for model in http.get("/v1/models").json()["data"]}
        assert (models[loaded]["root"], models[loaded]["parent"]) == (str(adapter), "base")

    def test_second_load_of_a_name_is_a_400(self, http: httpx.Client, loaded: str, adapter: Path) -> None:
        again = http.post("/v1/load_lora_adapter", json={"lora_name": loaded, "lora_path": str(adapter)})
        assert_error(again, 400, "has already been loaded")

    def test_load_of_a_missing_folder_is_a_404(self, http: httpx.Client, tmp_path: Path) -> None:
        body = {"lora_name": "sp_1-v2", "lora_path": str(tmp_path / "nothing")}
        assert_error(http.post("/v1/load_lora_adapter", json=body), 404, "sp_1-v2")
        assert "sp_1-v2" not in http.get("/v1/models").text

    def test_load_under_the_bases_name_is_a_400(self, http: httpx.Client, adapter: Path) -> None:
        body = {"lora_name": "base", "lora_path": str(adapter)}
        assert_error(http.post("/v1/load_lora_adapter", json=body), 400, "conflicts")

    def test_unloaded_adapter_is_gone_and_unknown_ones_are_a_404(self, http: httpx.Client, loaded: str) -> None:
        assert http.post("/v1/unload_lora_adapter", json={"lora_name": loaded}).status_code == 200
        assert_error(http.post("/v1/unload_lora_adapter", json={"lora_name": loaded}), 404, "cannot be found")
        assert_error(chat(http, model=loaded), 404, "does not exist")

    def test_answer_names_its_model_and_counts_tokens(self, http: httpx.Client, loaded: str) -> None:
        for model in ("base", loaded):
            answer = chat(http, model=model, max_tokens=4).json()
            assert (answer["object"], answer["model"]) == ("chat.completion", model)
            assert isinstance(answer["choices"][0]["message"]["content"], str)
            assert 0 < answer["usage"]["completion_tokens"] <= 4

    def test_stream_has_a_role_first_then_text_then_usage_then_done(self, http: httpx.Client) -> None:
        answer = chat(http, model="base", max_tokens=3, stream=True, stream_options={"include_usage": True})
        assert answer.headers["content-type"].startswith("text/event-stream")
        *events, done = [line.removeprefix("data: ") for line in answer.text.split("\n") if line]
        assert done == "[DONE]"
        chunks = [json.loads(event) for event in events]
        assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
        assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
        assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks[:-1])
        assert chunks[-2]["choices"][0]["finish_reason"] in ("stop", "length")
        assert chunks[-1]["choices"] == []
        assert chunks[-1]["usage"]["completion_tokens"] > 0

    def test_tools_left_to_the_model_are_a_400(self, http: httpx.Client) -> None:
        tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object", "properties": {}}}}
        assert_error(chat(http, model="base", tools=[tool]), 400, "auto")

    def test_too_long_a_request_is_a_400_that_says_so(self, http: httpx.Client) -> None:
        long = [{"role": "user", "content": "word " * 3000}]
        assert_error(chat(http, model="base", messages=long), 400, "maximum context length")
        assert_error(chat(http, model="base", max_tokens=5000), 400, "max_tokens")

    def test_length_is_cut_to_the_room_that_the_prompt_leaves(self, http: httpx.Client) -> None:
        assert chat(http, model="base", max_tokens=2048, stop=["."]).status_code == 200


def chat(http: httpx.Client, *, model: str, **options: Any) -> httpx.Response:
    return http.post("/v1/chat/completions", json={"model": model, "messages": HELLO, "temperature": 0, **options})


def assert_error(response: httpx.Response, status: int, text: str) -> None:
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert (error["code"], text in error["message"]) == (status, True), error
