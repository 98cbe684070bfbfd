"""Attention for packed rows: each row attends to the shared prefix and to itself, nothing else.

A dense mask over the packed sequence would spend most of its work on pairs that it hides: with 25
rows, nine tenths. Here the projections run on packed tokens, and only attention runs row by row.
Registered with transformers, and switched on around a packed forward pass only; generation keeps
the model's own attention.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from transformers import AttentionInterface

from worker.training.attention import attending_as

_NAME = "engram_tree"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where rows lie in C packed sequences of T tokens; all indices are flat, c * T + t.

    rows_CRL: tokens of each row, padded with the row's first token. back_CT: for each token its
    place in the concatenation of prefix tokens [C * P] and row tokens [C * R * L].
    """

    prefix: int
    rows_CRL: torch.Tensor
    back_CT: torch.Tensor


_layout: ContextVar[Layout | None] = ContextVar("layout", default=None)


@contextmanager
def packed_as(layout: Layout, *, config: Any) -> Iterator[None]:
    """Inside the block the layers of the model with this config attend by this layout."""
    token = _layout.set(layout)
    try:
        with attending_as(_NAME, config=config):
            yield
    finally:
        _layout.reset(token)


def tree_attention(  # noqa: PLR0917 -- transformers' signature
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float | None = None,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """query [C, H, T, D], key and value [C, H_kv, T, D] -> [C, T, H, D]."""
    layout = _layout.get()
    assert layout is not None, "tree attention needs the layout of a pack"
    count, _heads, tokens, _width = query.shape
    size = layout.prefix
    prefix_query, prefix_key, prefix_value = (x[:, :, :size] for x in (query, key, value))
    prefix_CHPD = _attend(prefix_query, prefix_key, prefix_value, offset=0, scaling=scaling)
    rows = layout.rows_CRL.shape[1]
    row_query, row_key, row_value = (_rows(x, layout) for x in (query, key, value))
    row_key = torch.cat([_repeat(prefix_key, rows), row_key], dim=2)
    row_value = torch.cat([_repeat(prefix_value, rows), row_value], dim=2)
    rows_NHLD = _attend(row_query, row_key, row_value, offset=size, scaling=scaling)
    flat = torch.cat([_tokens_first(prefix_CHPD), _tokens_first(rows_NHLD)])
    packed = flat.index_select(0, layout.back_CT.reshape(-1))
    return packed.view(count, tokens, *packed.shape[1:]), None


def _attend(
    query_NHLD: torch.Tensor, key_NHKD: torch.Tensor, value_NHKD: torch.Tensor, *, offset: int, scaling: float | None
) -> torch.Tensor:
    """Causal attention; query i sees keys up to i + offset. Query [N, H, L, D], key and value [N, H_kv, K, D].

    Heads that share a key are rows of one product, so that keys and values need not be repeated. Written out: on CPU
    the fused kernel's backward pass costs ten times as much at these lengths.
    """
    count, heads, length, width = query_NHLD.shape
    shared = key_NHKD.shape[1]
    scale = width**-0.5 if scaling is None else scaling
    scores = (query_NHLD * scale).reshape(count, shared, -1, width) @ key_NHKD.transpose(-1, -2)
    scores_NHLK = scores.view(count, heads, length, -1)
    hidden_LK = torch.ones(scores_NHLK.shape[-2:], dtype=torch.bool, device=scores.device).triu(offset + 1)
    share_NHLK = scores_NHLK.float().masked_fill(hidden_LK, float("-inf")).softmax(-1).to(value_NHKD.dtype)
    return (share_NHLK.view(scores.shape) @ value_NHKD).view(count, heads, length, width)


def _rows(x_CHTD: torch.Tensor, layout: Layout) -> torch.Tensor:
    """[C, H, T, D] -> [C * R, H, L, D]."""
    count, rows, longest = layout.rows_CRL.shape
    flat = _tokens_first(x_CHTD).index_select(0, layout.rows_CRL.reshape(-1))
    return flat.view(count * rows, longest, *flat.shape[1:]).transpose(1, 2)


def _repeat(prefix_CHPD: torch.Tensor, rows: int) -> torch.Tensor:
    """The prefix of each candidate, once for each of its rows: [C * R, H, P, D]."""
    count, heads, size, width = prefix_CHPD.shape
    return prefix_CHPD[:, None].expand(count, rows, heads, size, width).reshape(count * rows, heads, size, width)


def _tokens_first(x: torch.Tensor) -> torch.Tensor:
    """[N, H, T, D] -> [N * T, H, D]."""
    return x.transpose(1, 2).reshape(-1, x.shape[1], x.shape[3])


AttentionInterface.register(_NAME, tree_attention)
