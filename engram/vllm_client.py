"""Talk to vLLM replicas: health, adapters, short completions. Never decides what should be loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from engram.errors import EngineUnavailable, EngramError
from engram.settings import Settings

BASE_NAME = "base"


class AdapterLoadFailed(EngramError):
    """vLLM refused an adapter, or has another one under its name."""

    code = "adapter_load_failed"


@dataclass(frozen=True, slots=True)
class EngineClient:
    """One replica. All calls are synchronous; the server's chat proxy has its own streaming client."""

    http: httpx.Client

    @property
    def url(self) -> str:
        return str(self.http.base_url).rstrip("/")

    def is_healthy(self) -> bool:
        try:
            return self.http.get("/health", timeout=2.0).status_code == 200
        except httpx.TransportError:
            return False

    def loaded(self) -> dict[str, str]:
        """Map of model name to the path it was loaded from (`root`)."""
        models = self._checked(self._request("GET", "/v1/models")).json()["data"]
        return {model["id"]: model["root"] for model in models}

    def load(self, name: str, path: str) -> None:
        """Load an adapter under `name`. Loading the same path again is a success; another one raises."""
        response = self._request("POST", "/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path})
        if response.is_success:
            return
        if response.status_code == 400 and self.loaded().get(name) == path:
            return
        raise AdapterLoadFailed(f"{self.url} did not load {name}: {response.status_code} {response.text[:300]}")

    def unload(self, name: str) -> None:
        """Remove an adapter's name. Running requests go on; an unknown name is no error."""
        response = self._request("POST", "/v1/unload_lora_adapter", json={"lora_name": name})
        if not response.is_success and response.status_code != 404:
            self._checked(response)

    def chat(
        self,
        messages: Sequence[Mapping[str, str]],
        *,
        model: str = BASE_NAME,
        max_tokens: int = 64,
        temperature: float = 0.0,
        **options: Any,
    ) -> str:
        """The answer to a chat, as text. `options` go to vLLM as they are (seed, structured_outputs, ...).

        Raises EngineUnavailable also where `model` is not loaded: a restarted engine has lost its adapters.
        """
        body = {"model": model, "messages": list(messages), "max_tokens": max_tokens, "temperature": temperature}
        response = self._request("POST", "/v1/chat/completions", json={**body, **options})
        if response.status_code == 404:
            raise EngineUnavailable(f"engine {self.url} has not loaded {model}")
        self._checked(response)
        return str(response.json()["choices"][0]["message"]["content"] or "")

    def _request(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        try:
            return self.http.request(method, path, **kwargs)
        except httpx.TransportError as error:
            raise EngineUnavailable(f"engine {self.url} cannot be reached: {type(error).__name__}") from error

    def _checked(self, response: httpx.Response) -> httpx.Response:
        if response.status_code >= 500:
            raise EngineUnavailable(f"engine {self.url} answered {response.status_code}: {response.text[:300]}")
        if response.is_error:
            raise EngramError(f"engine {self.url} answered {response.status_code}: {response.text[:300]}")
        return response


def auth_headers(settings: Settings) -> dict[str, str]:
    return {"Authorization": f"Bearer {settings.engine_api_key}"} if settings.engine_api_key else {}


def open_engines(settings: Settings) -> list[EngineClient]:
    """A client for each replica named in the settings."""
    headers = auth_headers(settings)
    return [
        EngineClient(httpx.Client(base_url=url, timeout=settings.engine_timeout_s, headers=headers, trust_env=False))
        for url in settings.engines
    ]
