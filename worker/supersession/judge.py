"""Judge whether what a user says now makes untrue what they said before.

Cross-encoders (Reimers and Gurevych 2019, arXiv 1908.10084): the sentence encoder reads both statements as one text,
with a LoRA on its upper layers, and one linear layer over the mean of its output tells *replaces* from *both stay*.
Each was trained apart (`worker.supersession.train`), and what they say is averaged: where one errs the others often do
not (deep ensembles, Lakshminarayanan et al. 2017, arXiv 1612.01474).
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model_state_dict, inject_adapter_in_model, set_peft_model_state_dict
from safetensors.torch import load_file

from engram.errors import EngramError
from scope.encoder import SentenceEncoder, mean_over_tokens, open_encoder
from worker.supersession import ADAPTERS_DIR

WEIGHTS = "adapter_model.safetensors"
_MOST_TOKENS = 128
_AT_ONCE = 32
_HEAD = "head."

Pair = tuple[str, str]  # what was said before, what is said now


class NoJudge(EngramError):
    """There is no adapter where the judge should be."""

    code = "no_judge"


@dataclass(frozen=True, slots=True)
class CrossEncoder:
    """`model` shares the sentence encoder's weights below and between its LoRA."""

    tokenizer: Any
    model: Any
    head: torch.nn.Linear

    def logits(self, pairs: Sequence[Pair]) -> torch.Tensor:
        """Log odds that the second of a pair makes the first untrue, [P], float32."""
        old, new = zip(*pairs, strict=True)
        batch = self.tokenizer(
            list(old), list(new), padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt"
        )
        mean_PD = mean_over_tokens(self.model, batch)
        with torch.autocast("cpu", enabled=False):  # training casts the rest
            logits_P: torch.Tensor = self.head(mean_PD)[:, 0]
        return logits_P


@dataclass(frozen=True, slots=True)
class Judge:
    """Says what its cross-encoders find in the mean of their log odds."""

    encoders: tuple[CrossEncoder, ...]

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
            logits_EP = torch.stack([encoder.logits([pairs[at] for at in chunk]) for encoder in self.encoders])
            for at, probability in zip(chunk, logits_EP.mean(0).sigmoid().tolist(), strict=True):
                found[at] = probability
        return found


def untrained(sentences: SentenceEncoder, config: LoraConfig) -> CrossEncoder:
    """Finds everything as probable as not. The sentence encoder's own weights are shared, and stay as they are."""
    shared = {id(parameter): parameter for parameter in sentences.model.parameters()}
    model = inject_adapter_in_model(config, copy.deepcopy(sentences.model, shared))
    head = torch.nn.Linear(sentences.width, 1)
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.zeros_(head.bias)
    return CrossEncoder(sentences.tokenizer, model.eval(), head)


def read_cross_encoder(sentences: SentenceEncoder, folder: Path) -> CrossEncoder:
    """The one whose adapter is in `folder`."""
    read = untrained(sentences, LoraConfig.from_pretrained(str(folder)))
    weights = load_file(folder / WEIGHTS)
    head = {name.removeprefix(_HEAD): weights.pop(name) for name in list(weights) if name.startswith(_HEAD)}
    set_peft_model_state_dict(read.model, weights)
    read.head.load_state_dict(head)
    return read


def _adapters_in(folder: Path) -> list[Path]:
    """The adapter that `folder` is, or those that it holds; none where there is no judge."""
    return [folder] if (folder / WEIGHTS).is_file() else sorted(each.parent for each in folder.glob(f"*/{WEIGHTS}"))


def read_judge(sentences: SentenceEncoder, folder: Path) -> Judge:
    """The judge of all adapters in `folder`. Raises NoJudge."""
    if not (folders := _adapters_in(folder)):
        raise NoJudge(f"no judge in {folder}: there is no {WEIGHTS}")
    return Judge(tuple(read_cross_encoder(sentences, each) for each in folders))


def weights_of(encoder: CrossEncoder) -> dict[str, torch.Tensor]:
    """What `read_cross_encoder` reads: the LoRA's tensors and the linear layer's."""
    lora: dict[str, torch.Tensor] = get_peft_model_state_dict(encoder.model)
    return lora | {f"{_HEAD}{name}": value for name, value in encoder.head.state_dict().items()}


@cache
def open_judge() -> Judge:
    """The shipped judge, one a process. Raises NoJudge and ScopeEncoderDamaged."""
    return read_judge(open_encoder(), ADAPTERS_DIR)
