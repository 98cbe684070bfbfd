"""Turn messages into vectors, near to each other where they ask the same.

The encoder is all-mpnet-base-v2 (Reimers and Gurevych 2019, arXiv 1908.10084; Apache-2.0), which set-up puts into the
environment. It is the same for every base, and nothing is downloaded.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from transformers import AutoModel, AutoTokenizer

from engram.errors import EngramError
from engram.hardware import choose_dtype, read_cpu_flags
from scope.decision import ENCODER, Vectors

FOLDER = Path(sys.prefix) / "share" / "engram" / ENCODER
_MOST_TOKENS = 256
_AT_ONCE = 64
_MOST_KEPT = 20_000
_NONE_KNOWN: Mapping[str, Vectors] = MappingProxyType({})


class ScopeEncoderDamaged(EngramError):
    """The sentence encoder is missing or cannot be read."""

    code = "scope_encoder_damaged"


@dataclass(frozen=True, slots=True)
class SentenceEncoder:
    """Keeps the vectors of the texts that it was given last: a run asks for the same notes and anchors again."""

    tokenizer: Any
    model: Any
    _kept: dict[str, Vectors] = field(default_factory=dict)

    def encode(self, texts: Sequence[str], *, known: Mapping[str, Vectors] = _NONE_KNOWN) -> Vectors:
        """Unit vectors [Q, D], the mean over a text's tokens. Of a long text the last 256 word pieces count.

        Texts whose vectors are `known` are not read, and not kept either.
        """
        # In order of length, so that little is spent on padding.
        missing = sorted(self.unread([text for text in texts if text not in known]), key=len)
        found = {text: self._kept[text] for text in texts if text in self._kept}
        for start in range(0, len(missing), _AT_ONCE):
            chunk = missing[start : start + _AT_ONCE]
            found.update(zip(chunk, self.encode_once(chunk), strict=True))
        if len(self._kept) + len(missing) > _MOST_KEPT:
            self._kept.clear()
        self._kept.update(found)
        if not texts:
            return np.zeros((0, self.width), np.float32)
        return np.stack([known[text] if text in known else found[text] for text in texts])

    def unread(self, texts: Sequence[str]) -> list[str]:
        """Those whose vectors are not kept, each once."""
        return [text for text in dict.fromkeys(texts) if text not in self._kept]

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    @torch.inference_mode()
    def encode_once(self, texts: Sequence[str]) -> Vectors:
        """The same of a few texts, keeping nothing: for what users say."""
        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt")
        vectors: Vectors = torch.nn.functional.normalize(mean_over_tokens(self.model, batch), dim=-1).numpy()
        return vectors


def mean_over_tokens(model: Any, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """The model's output for each text of a padded batch, the mean over its tokens, [Q, D], float32."""
    mask_QT1 = batch["attention_mask"][..., None]
    hidden_QTD = model(**batch).last_hidden_state.float()
    mean_QD: torch.Tensor = (hidden_QTD * mask_QT1).sum(1) / mask_QT1.sum(1)
    return mean_QD


def fastest_dtype() -> torch.dtype:
    """What this CPU reads sentences fastest with."""
    dtype: torch.dtype = getattr(torch, choose_dtype("auto", device="cpu", cpu_flags=read_cpu_flags()))
    return dtype


@cache
def open_encoder() -> SentenceEncoder:
    """The shipped encoder, one a process, as this CPU is fastest with it. Raises ScopeEncoderDamaged."""
    return load_encoder(fastest_dtype())


def load_encoder(dtype: torch.dtype) -> SentenceEncoder:
    """The shipped encoder, anew. Raises ScopeEncoderDamaged."""
    try:
        tokenizer = AutoTokenizer.from_pretrained(FOLDER, truncation_side="left", local_files_only=True)
        return SentenceEncoder(tokenizer, AutoModel.from_pretrained(FOLDER, dtype=dtype, local_files_only=True).eval())
    except (OSError, ValueError, SafetensorError) as error:
        raise ScopeEncoderDamaged(f"no sentence encoder in {FOLDER}: delete .venv and run `make setup`") from error
