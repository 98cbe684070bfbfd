"""Packed rows: where each token lies, what it is, and what it shall predict. What a token sees: test_tree_attention."""

import pytest
import torch

from worker.training.base import ResidentBase
from worker.training.packing import Packed, pack
from worker.training.rows import ChatRows, Row

PREFIX = (1, 2, 3)
SHORT, LONG = Row((10, 11), (12,)), Row((20,), (21, 22, 23))
UNEVEN = ([SHORT, LONG], [LONG], [], [SHORT, SHORT, LONG])


def _pack(*candidates: list[Row]) -> Packed:
    return pack(PREFIX, [[(row, 0) for row in rows] for rows in candidates], torch.device("cpu"))


def test_each_candidate_holds_the_prefix_and_then_its_rows() -> None:
    packed = _pack([SHORT, LONG], [LONG])
    assert packed.ids_CT[0, :8].tolist() == [1, 2, 3, 10, 11, 20, 21, 22]
    assert packed.ids_CT[1, :6].tolist() == [1, 2, 3, 20, 21, 22]


def test_positions_of_each_row_go_on_from_the_prefix() -> None:
    assert _pack([SHORT, LONG]).positions_CT[0, :8].tolist() == [0, 1, 2, 3, 4, 3, 4, 5]


def test_layout_names_the_tokens_of_each_row() -> None:
    packed = _pack(*UNEVEN)
    ids = packed.ids_CT.flatten()[packed.layout.rows_CRL]
    assert packed.layout.prefix == len(PREFIX)
    for c, rows in enumerate(UNEVEN):
        for number, row in enumerate(rows):
            assert ids[c, number, : len(row.inputs)].tolist() == list(row.inputs)


def test_every_token_finds_its_way_back_to_its_place() -> None:
    packed = _pack(*UNEVEN)
    count, width = packed.ids_CT.shape
    places_CT = torch.arange(count * width).view(count, width)
    taken_apart = torch.cat([places_CT[:, : len(PREFIX)].flatten(), packed.layout.rows_CRL.flatten()])
    put_back_CT = taken_apart[packed.layout.back_CT]
    for c, rows in enumerate(UNEVEN):
        filled = len(PREFIX) + sum(len(row.inputs) for row in rows)
        assert torch.equal(put_back_CT[c, :filled], places_CT[c, :filled])


def test_predicted_tokens_come_with_their_place_label_and_group() -> None:
    packed = pack(PREFIX, [[(SHORT, 0), (LONG, 1)], [(LONG, 1)]], torch.device("cpu"))
    owner, token = packed.answer_at
    assert owner.tolist() == [0, 0, 0, 0, 1, 1, 1]
    assert token.tolist() == [4, 5, 6, 7, 3, 4, 5]
    assert packed.labels_N.tolist() == [12, 21, 22, 23, 21, 22, 23]
    assert packed.group_N.tolist() == [0, 1, 1, 1, 1, 1, 1]


def test_widths_are_rounded_up_so_that_few_shapes_occur() -> None:
    packs = [_pack([Row((7,) * size, (8,))] * 3) for size in range(1, 30)]
    assert len({packed.ids_CT.shape for packed in packs}) < 8
    assert len({packed.layout.rows_CRL.shape for packed in packs}) < 10


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
