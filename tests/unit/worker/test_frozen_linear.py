"""Layers that are laid out once, and heads that share keys: the same numbers as the layers they stand for."""

import copy

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from tests.fakes.base import tiny_base
from worker.training.frozen_linear import FrozenLinear, freeze
from worker.training.grouped_attention import grouped


@pytest.fixture
def model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 48), nn.GELU(), nn.Linear(48, 32, bias=False)).requires_grad_(False)


@pytest.mark.parametrize("rows", [1, 7, 300])
def test_frozen_layers_compute_what_the_layers_did(model: nn.Sequential, rows: int) -> None:
    x = torch.randn(2, rows, 64)
    usual = model(x)
    freeze(model)
    assert isinstance(model[0], FrozenLinear)
    with torch.no_grad():
        assert_close(model(x), usual)
        assert_close(model(x[:, -1]), usual[:, -1])  # not contiguous


def test_gradients_flow_through_frozen_layers(model: nn.Sequential) -> None:
    x = torch.randn(3, 64, requires_grad=True)
    (usual,) = torch.autograd.grad(model(x).sum(), x)
    freeze(model)
    (frozen,) = torch.autograd.grad(model(x).sum(), x)
    assert torch.equal(frozen, usual)


def test_a_copy_is_a_plain_layer_that_may_change(model: nn.Sequential) -> None:
    x = torch.randn(3, 64)
    freeze(model)
    other = copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.zero_()
        assert type(other[0]) is nn.Linear
        assert not torch.allclose(other(x), model(x))
        assert model[0].weight.abs().sum() > 0


def test_frozen_weights_stay_the_models_own(model: nn.Sequential) -> None:
    before = {name: weight.data_ptr() for name, weight in model.named_parameters()}
    freeze(model)
    assert {name: weight.data_ptr() for name, weight in model.named_parameters()} == before


def test_other_number_formats_are_left_alone(model: nn.Sequential) -> None:
    freeze(model.to(torch.bfloat16))
    assert type(model[0]) is nn.Linear


@pytest.mark.parametrize("padded", [0, 3])
def test_grouped_attention_answers_as_the_usual_one(padded: int) -> None:
    base = tiny_base()
    ids = torch.randint(5, 100, (2, 9), generator=torch.Generator().manual_seed(0))
    mask = torch.ones_like(ids)
    mask[0, :padded] = 0
    positions = (mask.cumsum(-1) - 1).clamp_min(0)

    def logits() -> torch.Tensor:
        """Of a whole prompt, and of one token more upon what was kept of it."""
        with torch.no_grad():
            first = base.model(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=True)
            longer = torch.cat([mask, mask[:, -1:]], 1)
            second = base.model(
                input_ids=ids[:, :1],
                attention_mask=longer,
                position_ids=positions[:, -1:] + 1,
                past_key_values=first.past_key_values,
            )
        found: torch.Tensor = torch.cat([first.logits[:, padded:], second.logits], 1)
        return found

    usual = logits()
    with grouped(base.model):
        assert base.model.config._attn_implementation == "engram_grouped"
        shared = logits()
    assert base.model.config._attn_implementation == "sdpa"
    assert_close(shared, usual, rtol=1e-4, atol=1e-4)
