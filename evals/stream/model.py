"""What all methods share: the resident base, the author, and how questions are answered."""

from collections.abc import Sequence
from dataclasses import dataclass

from engram.settings import Settings
from evals.client import ANSWER_TOKENS
from evals.stream.datasets import Item
from worker.author.client import Author
from worker.learner import Learner
from worker.opening import open_base
from worker.training.base import LINEAR_LAYERS, ResidentBase
from worker.training.generation import generate
from worker.training.rows import ChatRows
from worker.training.stacked_lora import StackedLora, Weights

_PROMPTS_AT_ONCE = 64
_ROOM_AROUND_GOLD = 12


@dataclass(frozen=True)
class Setup:
    """`settings.seed` seeds all training; `answer_tokens` is the longest answer to a question, in tokens."""

    settings: Settings
    learner: Learner
    author: Author
    answer_tokens: int = ANSWER_TOKENS

    def answer(self, prompts: Sequence[str], weights: Weights | None, *, lora: StackedLora | None = None) -> list[str]:
        """Free greedy answers, from `weights` on the base; with `lora`, from these on the base that it wraps."""
        lora = lora or self.learner.lora
        return answer(lora, self.learner.rows, prompts, weights, max_tokens=self.answer_tokens)


def open_setup(settings: Settings, items: Sequence[Item]) -> Setup:
    """Load base and author as the worker does. Raises EngramError where there is no such model."""
    base = open_base(settings)
    return Setup(settings, base.learner, base.author(), answer_tokens_for(base.learner.base, items))


def answer_tokens_for(base: ResidentBase, items: Sequence[Item]) -> int:
    """Room for the longest gold answer of the stream and some words around it, or what the API's evaluations allow."""
    texts = [answer for item in items for probe in item.graded for answer in probe.answers]
    longest = max((len(base.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts), default=0)
    return max(ANSWER_TOKENS, longest + _ROOM_AROUND_GOLD)


def answer(
    lora: StackedLora, rows: ChatRows, prompts: Sequence[str], weights: Weights | None, *, max_tokens: int
) -> list[str]:
    """The greedy answer to each prompt, each in a conversation of its own; `weights` of one candidate."""
    texts: list[str] = []
    for start in range(0, len(prompts), _PROMPTS_AT_ONCE):
        ids = [rows.prompt(prompt) for prompt in prompts[start : start + _PROMPTS_AT_ONCE]]
        outputs = generate(lora.base, lora, weights, ids, prefix=rows.prefix, max_tokens=max_tokens)[0]
        texts += lora.base.tokenizer.batch_decode(outputs, skip_special_tokens=True)
    return [text.strip() for text in texts]


def with_layers(lora: StackedLora, *, rank: int, first_layer: int, kinds: Sequence[str] = LINEAR_LAYERS) -> StackedLora:
    """The same wrapped base, on which other layers are trained, at another rank."""
    names = (name for name in lora.base.linear_layers(first_layer) if name.rsplit(".", 1)[-1] in kinds)
    return lora.training(names, rank=rank, first_layer=first_layer)
