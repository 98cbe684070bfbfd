"""A linear layer whose weight is laid out for the processor once, not at every product.

An answer grows token by token, a few rows at a time; there much of a product's time goes into laying the weight out.
oneDNN takes one that is laid out already: what TorchInductor does with a frozen graph.
"""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn.functional import linear

_MOST_BYTES = 2**30  # the second copy stands beside the one that gradients need: not for a larger base


class FrozenLinear(nn.Linear):
    """Shares the weight of a linear layer, which must not change. With gradients it computes as that layer does."""

    def __init__(self, layer: nn.Linear) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias
        self._laid_out = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach())

    def __deepcopy__(self, memo: dict[int, Any]) -> nn.Linear:
        """A plain layer: what is copied is to be changed."""
        plain = nn.Linear(self.in_features, self.out_features, bias=self.bias is not None, device="meta")
        plain.weight, plain.bias = copy.deepcopy((self.weight, self.bias), memo)
        return plain

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled():
            return linear(x, self.weight, self.bias)
        y: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, self._laid_out, self.bias, "none", [], "")
        return y


def freeze(model: nn.Module) -> None:
    """Replace a model's linear layers in place, where that is faster: in float32 on a processor."""
    layers = {name: layer for name, layer in model.named_modules() if type(layer) is nn.Linear and _gains(layer)}
    if sum(layer.weight.nbytes for layer in layers.values()) <= _MOST_BYTES:
        for name, layer in layers.items():
            model.set_submodule(name, FrozenLinear(layer))


def _gains(layer: nn.Linear) -> bool:
    has_onednn: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return has_onednn and layer.weight.device.type == "cpu" and layer.weight.dtype == torch.float32
