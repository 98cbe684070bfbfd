"""Losses over the vocabulary, fused with the output matrix. Pure tensor work.

The vocabulary is a fifth of a small base, and its logits are a hundred times as wide as its hidden
states. Here both the loss and its gradient with respect to the hidden states are made chunk by
chunk in one pass: the softmax of a chunk stays in cache, and no logits are kept for the backward pass.
The idea is that of Liger Kernel's fused linear cross-entropy (arXiv 2410.10989).
"""

from typing import Any

import torch

_POSITIONS_AT_ONCE = 256


def cross_entropy(hidden_ND: torch.Tensor, head_VD: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of each position in nats, [N], float32 or wider."""
    losses: torch.Tensor = _CrossEntropy.apply(hidden_ND, head_VD, labels_N)  # type: ignore[no-untyped-call]
    return losses


def kl_to_base(hidden_CND: torch.Tensor, head_VD: torch.Tensor, base_hidden_ND: torch.Tensor) -> torch.Tensor:
    """KL(base || candidate) of each position in nats, [C, N]; the base's side is computed once for all candidates."""
    losses: torch.Tensor = _KlToBase.apply(hidden_CND, head_VD, base_hidden_ND)  # type: ignore[no-untyped-call]
    return losses


class _Fused(torch.autograd.Function):
    """`forward` stores each position's gradient; `backward` only scales it."""

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (hidden_gradient,) = ctx.saved_tensors
        return hidden_gradient * gradients[0].unsqueeze(-1).to(hidden_gradient.dtype), None, None


class _CrossEntropy(_Fused):
    @staticmethod
    def forward(ctx: Any, hidden_ND: torch.Tensor, head_VD: torch.Tensor, labels_N: torch.Tensor) -> torch.Tensor:
        gradient_ND = torch.empty_like(hidden_ND)
        losses = []
        for start in range(0, len(hidden_ND), _POSITIONS_AT_ONCE):
            part = slice(start, start + _POSITIONS_AT_ONCE)
            labels = labels_N[part]
            at_label = (torch.arange(len(labels), device=labels.device), labels)
            share_NV = (hidden_ND[part] @ head_VD.T).softmax(-1)
            losses.append(-_wide(share_NV[at_label]).clamp_min(_TINY).log())
            share_NV[at_label] -= 1
            torch.mm(share_NV, head_VD, out=gradient_ND[part])
        ctx.save_for_backward(gradient_ND)
        return torch.cat(losses) if losses else _wide(hidden_ND.new_zeros(0))


class _KlToBase(_Fused):
    @staticmethod
    def forward(ctx: Any, hidden_CND: torch.Tensor, head_VD: torch.Tensor, base_ND: torch.Tensor) -> torch.Tensor:
        gradient_CND = torch.empty_like(hidden_CND)
        losses_CN = _wide(hidden_CND.new_empty(hidden_CND.shape[:2]))
        for start in range(0, len(base_ND), _POSITIONS_AT_ONCE):
            part = slice(start, start + _POSITIONS_AT_ONCE)
            base_logp_NV = _wide(base_ND[part] @ head_VD.T).log_softmax(-1)
            base_p_NV = base_logp_NV.exp()
            for c in range(len(hidden_CND)):
                logp_NV = _wide(hidden_CND[c, part] @ head_VD.T).log_softmax(-1)
                losses_CN[c, part] = (base_p_NV * (base_logp_NV - logp_NV)).sum(-1)
                difference = logp_NV.exp_().sub_(base_p_NV)
                gradient_CND[c, part] = difference.to(head_VD.dtype) @ head_VD
        ctx.save_for_backward(gradient_CND)
        return losses_CN


_TINY = 1e-38


def _wide(x: torch.Tensor) -> torch.Tensor:
    """At least float32: sums over the vocabulary need it."""
    return x if x.dtype == torch.float64 else x.float()
