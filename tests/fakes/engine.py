"""A vLLM replica without a model: the same routes, statuses and error bodies, and faults on demand.

Its answers name what it was asked: `<model>: <last message>`, a word a token. tests/contract
asserts the same of this and of the real vLLM 0.32.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse

BASE = "base"
MAX_MODEL_LEN = 2048


@dataclass
class Faults:
    """Switch them on and off while it runs. `fail_after` counts the chunks of a stream that still come."""

    down: bool = False
    refuse_loads: bool = False
    token_delay_s: float = 0.0
    fail_after: int | None = None
    cut_after: int | None = None


@dataclass
class FakeEngine:
    """`requests` keeps the bodies and headers it was sent; `adapters` maps names to paths."""

    adapters: dict[str, str] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    requests: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    answer: str | None = None

    def restart(self) -> None:
        """What a restart does: runtime-loaded adapters are gone."""
        self.adapters.clear()

    def app(self) -> FastAPI:
        app = FastAPI()
        app.get("/health")(self._health)
        app.get("/v1/models")(self._models)
        app.post("/v1/load_lora_adapter")(self._load)
        app.post("/v1/unload_lora_adapter")(self._unload)
        app.post("/v1/chat/completions")(self._chat)
        return app

    async def _health(self) -> Response:
        return Response(status_code=503 if self.faults.down else 200)

    async def _models(self) -> Response:
        if self.faults.down:
            return _error(500, "InternalServerError", "the engine is dead")
        cards = [_card(BASE, "/models/base", None)]
        cards += [_card(name, path, BASE) for name, path in self.adapters.items()]
        return JSONResponse({"object": "list", "data": cards})

    async def _load(self, request: Request) -> Response:
        body = await request.json()
        name, path = body.get("lora_name"), body.get("lora_path")
        self.calls.append(f"load {name}")
        if not name or not path:
            return _error(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.")
        if name == BASE:
            return _error(400, "InvalidUserInput", f"The lora adapter '{name}' conflicts with a served base model.")
        if name in self.adapters:
            return _error(400, "InvalidUserInput", f"The lora adapter '{name}' has already been loaded.")
        if self.faults.refuse_loads or self.faults.down:
            return _error(500, "InternalServerError", "Call to add_lora method failed")
        if not (Path(path) / "adapter_config.json").is_file():
            return _error(404, "NotFoundError", f"Loading lora {name} failed: No adapter found for {path}")
        self.adapters[name] = path
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def _unload(self, request: Request) -> Response:
        name = (await request.json()).get("lora_name")
        self.calls.append(f"unload {name}")
        if not name:
            return _error(400, "InvalidUserInput", "'lora_name' needs to be provided to unload a LoRA adapter.")
        if name not in self.adapters:
            return _error(404, "NotFoundError", f"The lora adapter '{name}' cannot be found.")
        del self.adapters[name]
        return PlainTextResponse(f"Success: LoRA adapter '{name}' removed successfully.")

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        self.requests.append(body)
        self.headers.append(dict(request.headers))
        if refusal := self._refusal(body):
            return refusal
        model, prompt = body["model"], _count(body)
        room = MAX_MODEL_LEN - prompt
        words = self._words(body)[: min(body.get("max_tokens") or room, room)]
        usage = {"prompt_tokens": prompt, "completion_tokens": len(words), "total_tokens": prompt + len(words)}
        if not body.get("stream"):
            await asyncio.sleep(self.faults.token_delay_s * len(words))
            choice = {"index": 0, "message": {"role": "assistant", "content": "".join(words)}, "finish_reason": "stop"}
            return JSONResponse({**_head(model, "chat.completion"), "choices": [choice], "usage": usage})
        wants_usage = (body.get("stream_options") or {}).get("include_usage")
        chunks = self._chunks(model, words, usage if wants_usage else None)
        return StreamingResponse(chunks, media_type="text/event-stream")

    def _refusal(self, body: dict[str, Any]) -> Response | None:
        model = body["model"]
        if self.faults.down:
            return _error(500, "InternalServerError", "EngineCore encountered an issue")
        if model != BASE and model not in self.adapters:
            return _error(404, "NotFoundError", f"The model `{model}` does not exist.")
        if body.get("tools") and body.get("tool_choice", "auto") == "auto":
            return _error(400, "BadRequestError", '"auto" tool choice requires --enable-auto-tool-choice')
        if _count(body) > MAX_MODEL_LEN:
            message = f"This model's maximum context length is {MAX_MODEL_LEN} tokens. However, your prompt is longer."
            return _error(400, "BadRequestError", message)
        if (body.get("max_tokens") or 0) > MAX_MODEL_LEN:
            return _error(400, "BadRequestError", f"max_tokens cannot be greater than max_model_len={MAX_MODEL_LEN}.")
        return None

    def _words(self, body: dict[str, Any]) -> list[str]:
        said = self.answer or f"{body['model']}: {_text(body['messages'][-1]['content'])}"
        first, *rest = said.split(" ")
        return [first, *(f" {word}" for word in rest)]

    async def _chunks(self, model: str, words: list[str], usage: dict[str, int] | None) -> AsyncIterator[str]:
        head = _head(model, "chat.completion.chunk")
        deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}, *({"content": word} for word in words)]
        for number, delta in enumerate(deltas):
            if number == self.faults.cut_after:
                raise ConnectionAbortedError("the engine died")
            if number == self.faults.fail_after:
                yield _data({"error": {"message": "EngineCore died", "type": "InternalServerError", "code": 500}})
                yield "data: [DONE]\n\n"
                return
            finish = "stop" if number == len(words) else None
            yield _data({**head, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
            await asyncio.sleep(self.faults.token_delay_s)
        if usage:
            yield _data({**head, "choices": [], "usage": usage})
        yield "data: [DONE]\n\n"


def _count(body: dict[str, Any]) -> int:
    """Tokens of the prompt: its words."""
    return sum(len(_text(message["content"]).split()) for message in body["messages"])


def _text(content: Any) -> str:
    if isinstance(content, list):
        return "\n".join(part.get("text", "") for part in content)
    return content or ""


def _head(model: str, kind: str) -> dict[str, Any]:
    return {"id": "chatcmpl-fake", "object": kind, "created": int(time.time()), "model": model}


def _card(name: str, root: str, parent: str | None) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": "vllm", "root": root, "parent": parent}


def _data(body: dict[str, Any]) -> str:
    # Not ASCII-escaped, as vLLM's: text may hold U+2028.
    return f"data: {json.dumps(body, ensure_ascii=False)}\n\n"


def _error(status: int, kind: str, message: str) -> Response:
    return JSONResponse({"error": {"message": message, "type": kind, "param": None, "code": status}}, status)
