"""The fused losses are those that torch makes of whole logits, and so are their gradients."""

import pytest
import torch
from torch.nn import functional

from worker.training import vocabulary
from worker.training.vocabulary import cross_entropy, kl_to_base

POSITIONS, WIDTH, WORDS, CANDIDATES = 11, 6, 40, 3


@pytest.fixture(autouse=True, params=[4, 256])
def _chunks(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Several chunks with a shorter last one, and one chunk that holds all."""
    monkeypatch.setattr(vocabulary, "_POSITIONS_AT_ONCE", request.param)


def _random(*shape: int, seed: int) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


HEAD_VD = _random(WORDS, WIDTH, seed=0)


def test_cross_entropy_and_its_gradient_equal_torchs() -> None:
    hidden = _random(POSITIONS, WIDTH, seed=1)
    labels = torch.arange(POSITIONS) * 3 % WORDS
    weights = torch.linspace(0.1, 2, POSITIONS, dtype=torch.float64)  # each position may count differently
    ours, theirs = (hidden.clone().requires_grad_() for _ in range(2))
    losses = cross_entropy(ours, HEAD_VD, labels)
    expected = functional.cross_entropy(theirs @ HEAD_VD.T, labels, reduction="none")
    torch.testing.assert_close(losses, expected)
    (losses * weights).sum().backward()
    (expected * weights).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_divergence_from_the_base_and_its_gradient_equal_torchs() -> None:
    base, hidden = _random(POSITIONS, WIDTH, seed=2), _random(CANDIDATES, POSITIONS, WIDTH, seed=3)
    ours, theirs = (hidden.clone().requires_grad_() for _ in range(2))
    losses = kl_to_base(ours, HEAD_VD, base)
    logp, base_logp = (
        (theirs @ HEAD_VD.T).log_softmax(-1),
        (base @ HEAD_VD.T).log_softmax(-1).expand(CANDIDATES, -1, -1),
    )
    expected = functional.kl_div(logp, base_logp, log_target=True, reduction="none").sum(-1)
    torch.testing.assert_close(losses, expected)
    losses.mean(-1).sum().backward()
    expected.mean(-1).sum().backward()
    torch.testing.assert_close(ours.grad, theirs.grad)


def test_no_position_has_no_loss() -> None:
    none = torch.zeros(0, WIDTH, dtype=torch.float64, requires_grad=True)
    losses = cross_entropy(none, HEAD_VD, torch.zeros(0, dtype=torch.long))
    assert losses.shape == (0,)
    losses.sum().backward()
    assert none.grad is not None
