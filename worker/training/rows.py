"""Turn prompts and answers into token rows behind one shared prefix. Pure but for the tokenizer."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

Ids = tuple[int, ...]

_MOST_KEPT = 4000  # prompts: some MB


@dataclass(frozen=True, slots=True)
class Row:
    """A chat turn without the prefix that all rows share. `answer` ends with the end-of-turn token."""

    prompt: Ids
    answer: Ids

    @property
    def inputs(self) -> Ids:
        """What the model reads: all but the last answer token, which is only predicted."""
        return self.prompt + self.answer[:-1]


class ChatRows:
    """Makes rows with the base's chat template. `prefix` holds the tokens every rendered chat begins with."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        self.prefix = _common_start(self._render("a"), self._render("Zebra 7"))
        # A run asks for hundreds of anchors, all of which were rendered before.
        self._after_prefix = lru_cache(_MOST_KEPT)(lambda prompt: self._render(prompt)[len(self.prefix) :])

    def row(self, prompt: str, answer: str) -> Row:
        ids = self.tokenizer(answer, add_special_tokens=False)["input_ids"]
        return Row(self.prompt(prompt), (*ids, self.tokenizer.eos_token_id))

    def prompt(self, prompt: str) -> Ids:
        """The prompt's tokens after the shared prefix."""
        return self._after_prefix(prompt)

    def _render(self, prompt: str) -> Ids:
        text = self.tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
        )
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])


def _common_start(first: Ids, second: Ids) -> Ids:
    size = next((i for i, pair in enumerate(zip(first, second, strict=False)) if pair[0] != pair[1]), 0)
    return first[:size]
