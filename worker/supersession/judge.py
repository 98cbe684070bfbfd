"""Judge whether what a user says now makes untrue what they said before.

A cross-encoder (Reimers and Gurevych 2019, arXiv 1908.10084): the sentence encoder reads both statements as one text,
with a LoRA on its upper layers, and one linear layer over the mean of its output tells *replaces* from *both stay*.
Trained by `worker.supersession.train`.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors.torch import load_file

from scope.encoder import SentenceEncoder, mean_over_tokens, open_encoder
from worker.supersession import ADAPTER_DIR

WEIGHTS = "adapter_model.safetensors"
_MOST_TOKENS = 128
_AT_ONCE = 32
_HEAD = "head."

Pair = tuple[str, str]  # what was said before, what is said now


@dataclass(frozen=True, slots=True)
class Judge:
    """`model` shares the sentence encoder's weights below and between its LoRA."""

    tokenizer: Any
    model: Any
    head: torch.nn.Linear

    def replaced(self, statement: str, earlier: Sequence[str]) -> list[float]:
        """How probable it is that `statement` makes each of the earlier ones untrue, 0 to 1."""
        return self.probabilities([(old, statement) for old in earlier])

    @torch.inference_mode()
    def probabilities(self, pairs: Sequence[Pair]) -> list[float]:
        """The same of any pairs. What is about as long is read together: little is spent on padding."""
        order = sorted(range(len(pairs)), key=lambda at: sum(map(len, pairs[at])))
        found = [0.0] * len(pairs)
        for start in range(0, len(order), _AT_ONCE):
            chunk = order[start : start + _AT_ONCE]
            logits = self.logits([pairs[at] for at in chunk])
            for at, probability in zip(chunk, logits.sigmoid().tolist(), strict=True):
                found[at] = probability
        return found

    def logits(self, pairs: Sequence[Pair]) -> torch.Tensor:
        """[P], float32."""
        old, new = zip(*pairs, strict=True)
        batch = self.tokenizer(
            list(old), list(new), padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt"
        )
        logits_P: torch.Tensor = self.head(mean_over_tokens(self.model, batch))[:, 0]
        return logits_P


def untrained(encoder: SentenceEncoder, config: LoraConfig) -> Judge:
    """A judge that finds everything as probable as not. The encoder's own weights are shared, and stay as they are."""
    shared = {id(parameter): parameter for parameter in encoder.model.parameters()}
    model = inject_adapter_in_model(config, copy.deepcopy(encoder.model, shared))
    head = torch.nn.Linear(encoder.width, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return Judge(encoder.tokenizer, model.eval(), head)


def read_judge(encoder: SentenceEncoder, folder: Path) -> Judge:
    """The judge whose adapter is in `folder`."""
    judge = untrained(encoder, LoraConfig.from_pretrained(str(folder)))
    weights = load_file(folder / WEIGHTS)
    head = {name.removeprefix(_HEAD): weights.pop(name) for name in list(weights) if name.startswith(_HEAD)}
    set_peft_model_state_dict(judge.model, weights)
    judge.head.load_state_dict(head)
    return judge


def weights_of(judge: Judge, lora: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What `read_judge` reads: the LoRA's tensors and the linear layer's."""
    return lora | {f"{_HEAD}{name}": value for name, value in judge.head.state_dict().items()}


@cache
def open_judge() -> Judge:
    """The shipped judge, one a process. Raises ScopeEncoderDamaged."""
    return read_judge(open_encoder(), ADAPTER_DIR)
