"""Tree attention: a packed pass computes what separate passes over whole rows do, gradients too. It is only faster."""

from collections.abc import Sequence

import pytest
import torch

from tests.fakes.base import tiny_base, trained_looking
from worker.training.base import ResidentBase
from worker.training.packing import Packed, pack
from worker.training.rows import ChatRows, Row
from worker.training.stacked_lora import StackedLora, Weights, stack
from worker.training.tree_attention import packed_as, tree_attention


@pytest.fixture
def base() -> ResidentBase:
    """In double precision: what differs is then the method, not the rounding."""
    return tiny_base(dtype=torch.float64)


def _assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    """Norms and softmax round to single precision, whatever the base is in."""
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.fixture
def two(lora: StackedLora) -> Weights:
    both = stack(trained_looking(lora, seed=1), trained_looking(lora, seed=2))
    return {name: weight.double().requires_grad_() for name, weight in both.items()}


@pytest.fixture
def told(rows: ChatRows) -> list[list[Row]]:
    """The rows of two candidates: of different number and length."""
    many = [
        rows.row("Who am I?", "You are Ann."),
        rows.row("Hi", "Hello, how can I help you today?"),
        rows.row("x", ""),
    ]
    return [many, [rows.row("Where is it that I live?", "Bergen.")]]


def _pack(rows: ChatRows, candidates: Sequence[Sequence[Row]]) -> Packed:
    return pack(rows.prefix, [[(row, 0) for row in own] for own in candidates], torch.device("cpu"))


def _forward(base: ResidentBase, packed: Packed, ids_CT: torch.Tensor | None = None) -> torch.Tensor:
    """Final hidden states [C, T, D] of a packed pass through all layers."""
    decoder = base.decoder
    hidden: torch.Tensor = decoder.embed_tokens(packed.ids_CT if ids_CT is None else ids_CT)
    rotary = decoder.rotary_emb(hidden, position_ids=packed.positions_CT)
    with packed_as(packed.layout, config=decoder.config):
        for layer in decoder.layers:
            hidden = layer(hidden, position_ids=packed.positions_CT, position_embeddings=rotary)
    normed: torch.Tensor = decoder.norm(hidden)
    return normed


def _alone(base: ResidentBase, rows: ChatRows, row: Row) -> torch.Tensor:
    """Final hidden states at the answer of one whole row, as the model computes them by itself."""
    hidden: torch.Tensor = base.decoder(input_ids=torch.tensor([rows.prefix + row.inputs])).last_hidden_state[0]
    return hidden[-len(row.answer) :]


def _all_alone(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, weights: Weights, told: Sequence[Sequence[Row]]
) -> torch.Tensor:
    """What each candidate computes for each of its rows, one pass a row."""
    found = []
    for c, own in enumerate(told):
        with lora.use({name: weight[c : c + 1] for name, weight in weights.items()}):
            found += [_alone(base, rows, row) for row in own]
    return torch.cat(found)


def test_packed_pass_equals_separate_passes_of_the_bare_base(
    base: ResidentBase, rows: ChatRows, told: list[list[Row]]
) -> None:
    packed = _pack(rows, told)
    with torch.no_grad():
        together = _forward(base, packed)[packed.answer_at]
        _assert_close(together, torch.cat([_alone(base, rows, row) for own in told for row in own]))


def test_packed_pass_of_two_candidates_equals_separate_passes_with_their_lora(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, two: Weights, told: list[list[Row]]
) -> None:
    packed = _pack(rows, told)
    with torch.no_grad():
        with lora.use(two):
            together = _forward(base, packed)[packed.answer_at]
        _assert_close(together, _all_alone(base, lora, rows, two, told))
        with lora.use({name: weight.flip(0) for name, weight in two.items()}):
            assert not torch.allclose(_forward(base, packed)[packed.answer_at], together)


def test_gradients_of_two_candidates_equal_those_of_separate_passes(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, two: Weights, told: list[list[Row]]
) -> None:
    packed = _pack(rows, told)
    with lora.use(two):
        together = _forward(base, packed)[packed.answer_at]
        pull = torch.randn(together.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        packed_gradients = torch.autograd.grad((together * pull).sum(), list(two.values()))
    alone = _all_alone(base, lora, rows, two, told)
    gradients = torch.autograd.grad((alone * pull).sum(), list(two.values()))
    for ours, theirs in zip(packed_gradients, gradients, strict=True):
        _assert_close(ours, theirs)
        assert all(gradient.abs().max() > 0 for gradient in theirs)


def test_row_sees_its_past_and_the_prefix_and_nothing_else(
    base: ResidentBase, rows: ChatRows, told: list[list[Row]]
) -> None:
    packed = _pack(rows, told)
    start = len(rows.prefix) + len(told[0][0].inputs)  # the second row of the first candidate
    end, changed = start + len(told[0][1].inputs), start + 2
    ids_CT = packed.ids_CT.clone()
    ids_CT[0, changed] += 1
    with torch.no_grad():
        moved_CT = (_forward(base, packed) - _forward(base, packed, ids_CT)).abs().amax(-1) > 1e-9
    assert moved_CT.nonzero().tolist() == [[0, token] for token in range(changed, end)]


def test_candidate_without_rows_is_finite_beside_one_that_has_some(
    base: ResidentBase, rows: ChatRows, told: list[list[Row]]
) -> None:
    packed = _pack(rows, [[], told[0]])
    with torch.no_grad():
        hidden = _forward(base, packed)
        assert hidden.isfinite().all()
        _assert_close(hidden[packed.answer_at], torch.cat([_alone(base, rows, row) for row in told[0]]))


def test_outside_the_block_the_model_attends_as_usual(
    base: ResidentBase, rows: ChatRows, told: list[list[Row]]
) -> None:
    config, packed = base.decoder.config, _pack(rows, told)
    usual, before = config._attn_implementation, _alone(base, rows, told[0][0])
    with pytest.raises(ZeroDivisionError), packed_as(packed.layout, config=config):
        1 / 0  # noqa: B018
    assert config._attn_implementation == usual
    assert torch.equal(_alone(base, rows, told[0][0]), before)
    some = torch.zeros(1, 4, 8, 16)
    with pytest.raises(AssertionError, match="layout"):
        tree_attention(None, some, some, some, None)
