"""The engine client against every answer that vLLM gives, and none."""

import json
from collections.abc import Callable

import httpx
import pytest

from engram.errors import EngineUnavailable, EngramError
from engram.settings import Settings
from engram.vllm_client import AdapterLoadFailed, EngineClient, open_engines

NAME, PATH = "sp_1-v7-deadbeef", "/adapters/sp_1/v7"
Handler = Callable[[httpx.Request], httpx.Response]


def _client(handler: Handler) -> EngineClient:
    return EngineClient(httpx.Client(base_url="http://engine:8001", transport=httpx.MockTransport(handler)))


def _models(**roots: str) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"id": name, "root": root} for name, root in roots.items()]})


def _refuses_to_load(status: int, **roots: str) -> Handler:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return _models(**roots)
        return httpx.Response(status, text=f"The lora adapter '{NAME}' has already been loaded.")

    return answer


def _breaks(error: Exception) -> Handler:
    def answer(_: httpx.Request) -> httpx.Response:
        raise error

    return answer


def test_loading_names_the_adapter_and_its_path() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, text="Success")

    _client(answer).load(NAME, PATH)
    assert [(request.method, request.url.path) for request in seen] == [("POST", "/v1/load_lora_adapter")]
    assert json.loads(seen[0].content) == {"lora_name": NAME, "lora_path": PATH}


def test_already_loaded_from_the_same_path_is_a_success() -> None:
    _client(_refuses_to_load(400, base="/base", **{NAME: PATH})).load(NAME, PATH)


@pytest.mark.parametrize("roots", [{NAME: "/adapters/sp_1/v6"}, {"base": "/base"}, {}])
def test_already_loaded_from_another_path_fails(roots: dict[str, str]) -> None:
    with pytest.raises(AdapterLoadFailed, match="already been loaded"):
        _client(_refuses_to_load(400, **roots)).load(NAME, PATH)


@pytest.mark.parametrize("status", [401, 404, 422, 500, 503])
def test_any_other_refusal_fails_even_if_the_name_is_there(status: int) -> None:
    with pytest.raises(AdapterLoadFailed, match=str(status)):
        _client(_refuses_to_load(status, **{NAME: PATH})).load(NAME, PATH)


def test_an_engine_that_dies_between_refusal_and_look_is_unavailable() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            raise httpx.ConnectError("refused")
        return httpx.Response(400)

    with pytest.raises(EngineUnavailable):
        _client(answer).load(NAME, PATH)


@pytest.mark.parametrize(
    "error", [httpx.ConnectError("x"), httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x"), httpx.ReadError("x")]
)
def test_every_transport_error_is_an_unavailable_engine(error: Exception) -> None:
    engine = _client(_breaks(error))
    for call in (engine.loaded, lambda: engine.load(NAME, PATH), lambda: engine.unload(NAME), lambda: engine.chat([])):
        with pytest.raises(EngineUnavailable, match=type(error).__name__):
            call()
    assert not engine.is_healthy()


@pytest.mark.parametrize(("status", "healthy"), [(200, True), (500, False), (503, False)])
def test_health_is_a_200_and_nothing_else(status: int, healthy: bool) -> None:
    assert _client(lambda _: httpx.Response(status)).is_healthy() is healthy


def test_loaded_maps_names_to_their_paths() -> None:
    assert _client(lambda _: _models(base="/base", **{NAME: PATH})).loaded() == {"base": "/base", NAME: PATH}


@pytest.mark.parametrize("status", [200, 404])
def test_unloading_what_is_or_is_not_there_is_a_success(status: int) -> None:
    _client(lambda _: httpx.Response(status)).unload(NAME)


@pytest.mark.parametrize(("status", "error"), [(500, EngineUnavailable), (400, EngramError)])
def test_unloading_says_when_the_engine_could_not(status: int, error: type[EngramError]) -> None:
    with pytest.raises(error, match=str(status)):
        _client(lambda _: httpx.Response(status)).unload(NAME)


def test_chat_sends_what_was_asked_and_returns_the_text() -> None:
    bodies: list[dict[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json={"choices": [{"message": {"content": "Rufus"}}]})

    message = {"role": "user", "content": "What is my dog called?"}
    assert _client(answer).chat([message], model=NAME, max_tokens=8, seed=1) == "Rufus"
    assert bodies == [{"model": NAME, "messages": [message], "max_tokens": 8, "temperature": 0.0, "seed": 1}]


def test_an_answer_without_content_is_empty_text() -> None:
    answer = httpx.Response(200, json={"choices": [{"message": {"content": None}}]})
    assert _client(lambda _: answer).chat([]) == ""


def test_a_long_error_page_is_cut() -> None:
    with pytest.raises(EngineUnavailable) as caught:
        _client(lambda _: httpx.Response(500, text="x" * 100_000)).chat([])
    assert len(caught.value.message) < 500


def test_each_replica_gets_a_client_with_the_key() -> None:
    settings = Settings(engine_urls="http://a:1, http://b:2/ ,", engine_api_key="k")
    engines = open_engines(settings)
    assert [engine.url for engine in engines] == ["http://a:1", "http://b:2"]
    assert {engine.http.headers["authorization"] for engine in engines} == {"Bearer k"}
