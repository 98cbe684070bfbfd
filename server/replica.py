"""One vLLM replica as the server sees it: its HTTP calls, and whether it may be sent requests.

The asynchronous sibling of `engram.vllm_client.EngineClient`, with the same reading of vLLM's answers.
"""

from dataclasses import dataclass, field
from typing import Any

import httpx

from engram.errors import EngineUnavailable
from engram.vllm_client import AdapterLoadFailed

_HEALTH_TIMEOUT_S = 5.0
_SLOW_ANSWERS_ALLOWED = 3


@dataclass(slots=True)
class Replica:
    """`ready`: healthy, and reconciled since it came up. `missing`: live adapters that it could not load, and why.
    `refused`: all adapters that the last pass could not load, so that each is logged once."""

    http: httpx.AsyncClient
    ready: bool = False
    running: int = 0
    loaded: frozenset[str] = frozenset()
    missing: dict[str, str] = field(default_factory=dict)
    refused: frozenset[str] = frozenset()
    _slow_answers: int = 0

    @property
    def url(self) -> str:
        return str(self.http.base_url).rstrip("/")

    def mark_down(self) -> None:
        self.ready, self.loaded = False, frozenset()

    async def is_healthy(self) -> bool:
        """A refused connection is down at once; a busy engine may be slow a few times."""
        try:
            response = await self.http.get("/health", timeout=_HEALTH_TIMEOUT_S)
        except httpx.TimeoutException:
            self._slow_answers += 1
            return self.ready and self._slow_answers < _SLOW_ANSWERS_ALLOWED
        except httpx.TransportError:
            return False
        self._slow_answers = 0
        return response.status_code == 200

    async def adapters(self) -> dict[str, str]:
        """Map of model name to the path it was loaded from (`root`)."""
        response = await self._request("GET", "/v1/models")
        if not response.is_success:
            raise EngineUnavailable(f"engine {self.url} answered {response.status_code} to a list of its models")
        return {model["id"]: model["root"] for model in response.json()["data"]}

    async def load(self, name: str, path: str) -> None:
        """Load an adapter; one that is there already is a success only from the same path.

        Raises AdapterLoadFailed if a healthy engine refuses it, EngineUnavailable if the engine is at fault.
        """
        response = await self._request("POST", "/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path})
        refused = not response.is_success
        if refused and not (response.status_code == 400 and (await self.adapters()).get(name) == path):
            if not await self.is_healthy():  # a dying engine refuses every adapter: nothing is said about this one
                raise EngineUnavailable(f"engine {self.url} went down while it loaded {name}")
            raise AdapterLoadFailed(f"{self.url} did not load {name}: {response.status_code} {response.text[:300]}")
        self.loaded |= {name}

    async def unload(self, name: str) -> None:
        """Remove an adapter's name. Running requests go on; an unknown name is no error."""
        await self._request("POST", "/v1/unload_lora_adapter", json={"lora_name": name})
        self.loaded -= {name}

    async def _request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            return await self.http.request(method, path, **kwargs)
        except httpx.TransportError as error:
            raise EngineUnavailable(f"engine {self.url} cannot be reached: {type(error).__name__}") from error
