"""The stacked optimizer: each candidate is updated as torch's AdamW and clipping would update it alone."""

import torch

from worker.training.optimizer import StackedAdamW
from worker.training.stacked_lora import Weights

RATES = (3e-3, 1e-3)
STEPS = 6


def _weights() -> Weights:
    generator = torch.Generator().manual_seed(1)
    return {"m.A": torch.randn(2, 3, 5, generator=generator), "m.B": torch.randn(2, 4, 3, generator=generator)}


def _gradients(step: int) -> Weights:
    """Candidate 0's are large, so that only its are clipped."""
    generator = torch.Generator().manual_seed(100 + step)
    size = torch.tensor([5.0, 0.01])[:, None, None]
    return {name: torch.randn(w.shape, generator=generator) * size for name, w in _weights().items()}


def test_each_candidate_is_updated_as_by_torch_alone() -> None:
    stacked = {name: weight.clone().requires_grad_() for name, weight in _weights().items()}
    optimizer = StackedAdamW(stacked)
    for step in range(STEPS):
        for name, gradient in _gradients(step).items():
            stacked[name].grad = gradient.clone()
        optimizer.step(torch.tensor(RATES), max_norm=1.0)
    for candidate, rate in enumerate(RATES):
        alone = {name: weight[candidate].clone().requires_grad_() for name, weight in _weights().items()}
        torchs = torch.optim.AdamW(alone.values(), lr=rate, weight_decay=0.0)
        for step in range(STEPS):
            for name, gradient in _gradients(step).items():
                alone[name].grad = gradient[candidate].clone()
            torch.nn.utils.clip_grad_norm_(alone.values(), 1.0)
            torchs.step()
        for name, weight in alone.items():
            torch.testing.assert_close(stacked[name][candidate], weight, rtol=1e-5, atol=1e-6)


def test_step_clears_gradients_and_takes_a_missing_one_for_zero() -> None:
    weights = {name: weight.clone().requires_grad_() for name, weight in _weights().items()}
    weights["m.A"].grad = torch.ones_like(weights["m.A"])
    before = weights["m.B"].detach().clone()
    StackedAdamW(weights).step(torch.tensor(RATES), max_norm=1.0)
    assert weights["m.A"].grad is None
    assert torch.equal(weights["m.B"], before)


def test_rate_of_zero_leaves_a_candidate_as_it_was() -> None:
    weights = {name: weight.clone().requires_grad_() for name, weight in _weights().items()}
    for name, gradient in _gradients(0).items():
        weights[name].grad = gradient
    StackedAdamW(weights).step(torch.tensor([0.0, 1e-3]), max_norm=1.0)
    for name, weight in _weights().items():
        assert torch.equal(weights[name][0], weight[0])
        assert not torch.equal(weights[name][1], weight[1])
