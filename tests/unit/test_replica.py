"""A refused adapter is the adapter's fault only where the engine is well."""

import asyncio

import httpx
import pytest

from engram.errors import EngineUnavailable
from engram.vllm_client import AdapterLoadFailed
from server.replica import Replica


def _load(*, health: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(health if request.url.path == "/health" else 500, text="add_lora failed")

    async def load() -> None:
        async with httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://engine") as http:
            await Replica(http).load("sp_1", "/adapters/1")

    asyncio.run(load())


def test_healthy_engine_that_refuses_an_adapter_says_so() -> None:
    with pytest.raises(AdapterLoadFailed, match="did not load sp_1: 500"):
        _load(health=200)


def test_engine_that_dies_while_it_loads_says_nothing_about_the_adapter() -> None:
    with pytest.raises(EngineUnavailable, match="went down while it loaded sp_1"):
        _load(health=503)
