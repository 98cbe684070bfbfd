"""AdamW on stacked tensors, with a learning rate and a gradient norm for each candidate.

The update is Loshchilov & Hutter 2019 (arXiv 1711.05101) without weight decay: a candidate trains
exactly as it would alone.
"""

import math
from collections.abc import Sequence

import torch

from worker.training.stacked_lora import Weights


class StackedAdamW:
    def __init__(self, weights: Weights, *, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.parameters = list(weights.values())
        self.betas = betas
        self.eps = eps
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = 0

    @torch.no_grad()
    def step(self, learning_rates_C: torch.Tensor, *, max_norm: float) -> None:
        """Apply and clear the gradients, each candidate's clipped to `max_norm`."""
        self.steps += 1
        gradients = [p.grad if p.grad is not None else torch.zeros_like(p) for p in self.parameters]
        norms_C = torch.stack([g.pow(2).sum((1, 2)) for g in gradients]).sum(0).sqrt()
        clip_C11 = (max_norm / (norms_C + 1e-6)).clamp(max=1.0)[:, None, None]
        gradients = [g * clip_C11 for g in gradients]
        beta1, beta2 = self.betas
        torch._foreach_lerp_(self.means, gradients, 1 - beta1)
        torch._foreach_mul_(self.squares, beta2)
        torch._foreach_addcmul_(self.squares, gradients, gradients, 1 - beta2)
        size_C11 = (learning_rates_C / (1 - beta1**self.steps))[:, None, None]
        for parameter, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            denominator = (square / (1 - beta2**self.steps)).sqrt_().add_(self.eps)
            parameter.sub_(size_C11 * mean / denominator)
            parameter.grad = None

    def go_on_from(self, one: "StackedAdamW") -> None:
        """Take over the steps and moments of a single candidate's optimizer, for each of these."""
        count = self.parameters[0].shape[0]
        self.means = [mean.repeat(count, 1, 1) for mean in one.means]
        self.squares = [square.repeat(count, 1, 1) for square in one.squares]
        self.steps = one.steps

    def keep(self, parameters: Sequence[torch.Tensor], candidates: Sequence[int]) -> None:
        """Go on with these of the candidates, whose weights are now `parameters`, in the same order of tensors."""
        self.parameters = list(parameters)
        self.means = [mean[list(candidates)] for mean in self.means]
        self.squares = [square[list(candidates)] for square in self.squares]


def falling(progress: float) -> float:
    """A cosine from 1 down to a tenth, as `progress` goes from 0 to 1."""
    return 0.1 + 0.45 * (1 + math.cos(math.pi * progress))


def warmed_up(step: int, steps: int, *, warmup: int) -> float:
    """A linear rise over the first `warmup` steps times `falling`: the share of the peak rate at a step, from 0."""
    return min(1.0, (step + 1) / warmup) * falling(step / steps)
