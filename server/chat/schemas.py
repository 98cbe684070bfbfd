"""The chat request as OpenAI has it, and the body that goes to the engine. Knows no versions."""

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, field_validator

from engram.routing import check_space_name
from server.schemas import RequestBody

# What would let a client choose weights, jump the queue, reach other requests' caches, run a
# template or be fetched from the network; and what Engram itself decides.
_NEVER_FORWARDED = {
    *("user", "model", "engram", "priority", "lora_request", "vllm_xargs", "request_id", "session_id", "cache_salt"),
    *("chat_template", "chat_template_kwargs", "mm_processor_kwargs", "media_io_kwargs", "mm_payload"),
    *("kv_transfer_params", "ec_transfer_params", "routed_experts_prompt_start", "stream_interval"),
}
# vLLM refuses a choice of tools left to the model unless it was started with a parser for that model.
_TOOL_FIELDS = {"tools", "tool_choice", "parallel_tool_calls", "functions", "function_call"}
_TEXT_PARTS = {"text": "text", "input_text": "text", "refusal": "refusal"}


class ChatMessage(RequestBody):
    model_config = ConfigDict(extra="allow")

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None

    @field_validator("content")
    @classmethod
    def _only_text(cls, content: str | list[dict[str, Any]] | None) -> str | list[dict[str, Any]] | None:
        for part in content if isinstance(content, list) else []:
            if not isinstance(part.get(_TEXT_PARTS.get(str(part.get("type")), "")), str):
                raise ValueError("only text parts are supported")
        return content

    @property
    def text(self) -> str:
        """The content as one string, parts joined as vLLM joins them."""
        if isinstance(self.content, list):
            return "\n".join(part[_TEXT_PARTS[part["type"]]] for part in self.content)
        return self.content or ""


class ChatRequest(RequestBody):
    """Fields not named here go to the engine as they are."""

    model_config = ConfigDict(extra="allow")

    model: Annotated[str, Field(min_length=1, max_length=200)]
    messages: Annotated[list[ChatMessage], Field(min_length=1, max_length=2000)]
    user: str | None = None
    stream: bool | None = False
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    @field_validator("user")
    @classmethod
    def _names_a_space(cls, user: str | None) -> str | None:
        return check_space_name(user) if user is not None else None

    @property
    def names_length(self) -> bool:
        return self.max_tokens is not None or self.max_completion_tokens is not None

    def engine_body(self, *, model: str) -> dict[str, Any]:
        """The request as the engine gets it, asking for `model`. Tools go along only if one must be called."""
        sent = self.model_dump(exclude_unset=True)
        left_out = _NEVER_FORWARDED | (_TOOL_FIELDS if sent.get("tool_choice") in (None, "auto", "none") else set())
        return {**{name: value for name, value in sent.items() if name not in left_out}, "model": model}
