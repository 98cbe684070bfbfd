"""Packed rows: each token sees the prefix and its own row, and the model computes what it would on separate rows."""

import pytest
import torch

from worker.training.base import ResidentBase
from worker.training.packing import pack
from worker.training.rows import ChatRows, Row

PREFIX = (1, 2, 3)
SHORT, LONG = Row((10, 11), (12,)), Row((20,), (21, 22, 23))


def test_row_sees_the_prefix_and_its_own_past_only() -> None:
    packed = pack(PREFIX, [[(SHORT, 0), (LONG, 0)]])
    mask = packed.mask_C1TT[0, 0]
    seen = [mask[token].nonzero().flatten().tolist() for token in range(8)]
    assert seen == [
        [0],
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [0, 1, 2, 3, 4],
        [0, 1, 2, 5],
        [0, 1, 2, 5, 6],
        [0, 1, 2, 5, 6, 7],
    ]


def test_positions_of_each_row_go_on_from_the_prefix() -> None:
    packed = pack(PREFIX, [[(SHORT, 0), (LONG, 0)]])
    assert packed.positions_CT[0, :8].tolist() == [0, 1, 2, 3, 4, 3, 4, 5]


def test_predicted_tokens_come_with_their_place_label_and_group() -> None:
    packed = pack(PREFIX, [[(SHORT, 0), (LONG, 1)], [(LONG, 1)]])
    owner, token = packed.answer_at
    assert owner.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert token.tolist() == [4, 5, 6, 7, 3, 4, 5]
    assert packed.labels_N.tolist() == [12, 21, 22, 23, 21, 22, 23]
    assert packed.group_N.tolist() == [0, 1, 1, 1, 1, 1, 1]


def test_padding_sees_something_so_that_softmax_is_finite_and_no_token_sees_padding() -> None:
    packed = pack(PREFIX, [[(SHORT, 0)], [(LONG, 0), (LONG, 0)]])
    assert packed.mask_C1TT.any(-1).all()
    first_padding = len(PREFIX) + len(SHORT.inputs)
    assert not packed.mask_C1TT[0, 0, :first_padding, first_padding:].any()


def test_width_is_rounded_up_so_that_few_shapes_occur() -> None:
    assert pack(PREFIX, [[(SHORT, 0)]]).ids_CT.shape == (1, 64)
    assert pack(PREFIX, [[(LONG, 0)] * 21]).ids_CT.shape == (1, 128)


def test_packed_forward_equals_separate_forwards(base: ResidentBase, rows: ChatRows) -> None:
    told = [rows.row("Who am I?", "You are Ann."), rows.row("Hi", "Hello, how can I help you?"), rows.row("x", "y")]
    packed = pack(rows.prefix, [[(row, 0) for row in told]])
    bias = torch.zeros(packed.mask_C1TT.shape).masked_fill(~packed.mask_C1TT, torch.finfo(torch.float32).min)
    with torch.no_grad():
        hidden = base.decoder(
            input_ids=packed.ids_CT, attention_mask=bias, position_ids=packed.positions_CT, use_cache=False
        ).last_hidden_state[packed.answer_at]
        alone = []
        for row in told:
            ids = torch.tensor([rows.prefix + row.inputs])
            alone.append(base.decoder(input_ids=ids).last_hidden_state[0, -len(row.answer) :])
    torch.testing.assert_close(hidden, torch.cat(alone), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("prompt", ["Hi", "a", "Zebra 7", "What is my cat's name?"])
def test_prefix_is_what_every_rendered_chat_begins_with(rows: ChatRows, base: ResidentBase, prompt: str) -> None:
    text = base.tokenizer.apply_chat_template(
        [{"role": "user", "content": prompt}], tokenize=False, add_generation_prompt=True
    )
    assert rows.prefix + rows.prompt(prompt) == tuple(base.tokenizer(text, add_special_tokens=False)["input_ids"])
    assert "helpful assistant" in base.tokenizer.decode(rows.prefix)


def test_answer_ends_with_the_end_of_turn_which_is_only_predicted(rows: ChatRows, base: ResidentBase) -> None:
    row = rows.row("Hi", "Hello!")
    assert row.answer[-1] == base.tokenizer.eos_token_id
    assert row.inputs == row.prompt + row.answer[:-1]
    assert base.tokenizer.decode(row.answer[:-1]) == "Hello!"
