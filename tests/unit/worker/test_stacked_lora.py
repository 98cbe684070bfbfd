"""Stacked LoRA: many candidates in one batch, each exactly what PEFT makes of its saved folder."""

from pathlib import Path

import pytest
import torch
from peft import PeftModel

from engram.artifacts import verify
from tests.fakes.base import tiny_base, trained_looking
from tests.unit.worker.conftest import RANK
from worker.training.base import ResidentBase
from worker.training.rows import ChatRows
from worker.training.stacked_lora import StackedLora, Weights, repeat, stack

PROMPTS = ("What is my cat's name?", "Hello!", "Where do I live, again?")


def _logits(base: ResidentBase, rows: ChatRows, prompt: str, copies: int = 1) -> torch.Tensor:
    ids = torch.tensor([rows.prefix + rows.prompt(prompt)]).repeat(copies, 1)
    with torch.no_grad():
        logits: torch.Tensor = base.model(input_ids=ids).logits
    return logits


@pytest.fixture
def two(lora: StackedLora) -> Weights:
    return stack(trained_looking(lora, seed=1), trained_looking(lora, seed=2))


def test_saved_folder_is_a_peft_adapter_with_the_same_logits(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, two: Weights, tmp_path: Path
) -> None:
    for candidate in (0, 1):
        lora.save(two, candidate, tmp_path / str(candidate))
        peft = PeftModel.from_pretrained(tiny_base().model, tmp_path / str(candidate)).eval()
        for prompt in PROMPTS:
            with lora.use(two):
                ours = _logits(base, rows, prompt, copies=2)[candidate]
            with torch.no_grad():
                theirs = peft(input_ids=torch.tensor([rows.prefix + rows.prompt(prompt)])).logits[0]
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_saved_folder_passes_the_checks_that_guard_the_engine(lora: StackedLora, two: Weights, tmp_path: Path) -> None:
    lora.save(two, 1, tmp_path)
    assert len(verify(tmp_path, shape=lora.base.shape(max_rank=lora.rank))) == 64


def test_loading_what_was_saved_gives_the_same_candidate(lora: StackedLora, two: Weights, tmp_path: Path) -> None:
    lora.save(two, 1, tmp_path)
    loaded = lora.load(tmp_path)
    assert loaded.keys() == two.keys()
    for name, weight in loaded.items():
        assert torch.equal(weight[0], two[name][1])


def test_candidates_in_one_batch_equal_each_alone(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, two: Weights
) -> None:
    with lora.use(two):
        together = _logits(base, rows, PROMPTS[0], copies=2)
    for candidate in (0, 1):
        with lora.use({name: weight[candidate : candidate + 1] for name, weight in two.items()}):
            alone = _logits(base, rows, PROMPTS[0])[0]
        torch.testing.assert_close(together[candidate], alone, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(together[0], together[1], atol=1e-2)


def test_fresh_candidate_and_no_candidate_answer_as_the_base(
    base: ResidentBase, lora: StackedLora, rows: ChatRows
) -> None:
    untouched = _logits(tiny_base(), rows, PROMPTS[0])
    assert torch.equal(_logits(base, rows, PROMPTS[0]), untouched)
    with lora.use(lora.fresh(seed=3)):
        assert torch.equal(_logits(base, rows, PROMPTS[0]), untouched)


def test_weights_are_put_away_even_when_the_block_raises(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, two: Weights
) -> None:
    bare = _logits(base, rows, PROMPTS[0])
    with pytest.raises(RuntimeError), lora.use(two):
        raise RuntimeError
    assert torch.equal(_logits(base, rows, PROMPTS[0]), bare)


def test_layers_below_the_first_trained_one_carry_nothing(lora: StackedLora) -> None:
    assert {name.split(".")[2] for name in lora.fresh(seed=0)} == {"1", "2", "3"}
    assert len(lora.fresh(seed=0)) == 3 * 7 * 2


def test_adapter_with_more_layers_than_are_trained_is_used_whole(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, tmp_path: Path
) -> None:
    deeper = StackedLora(tiny_base(), rank=RANK, first_layer=0)
    deeper.save(trained_looking(deeper, seed=1), 0, tmp_path)
    peft = PeftModel.from_pretrained(tiny_base().model, tmp_path).eval()
    with lora.use(lora.load(tmp_path)):
        ours = _logits(base, rows, PROMPTS[0])[0]
    with torch.no_grad():
        theirs = peft(input_ids=torch.tensor([rows.prefix + rows.prompt(PROMPTS[0])])).logits[0]
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_fresh_is_the_same_for_a_seed_and_another_for_another(lora: StackedLora) -> None:
    first, again, other = lora.fresh(seed=1), lora.fresh(seed=1), lora.fresh(seed=2)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not any(torch.equal(first[name], other[name]) for name in first if name.endswith(".A"))


def test_repeat_copies_one_candidate(lora: StackedLora) -> None:
    one = trained_looking(lora, seed=1)
    three = repeat(one, 3)
    assert all(torch.equal(three[name][c], one[name][0]) for name in one for c in range(3))


def test_weakened_weights_are_between_the_base_and_themselves_but_for_the_encoder(
    base: ResidentBase, lora: StackedLora, rows: ChatRows
) -> None:
    whole = trained_looking(lora, seed=1)
    below = lora.below(lora.first_layer, rank=RANK).fresh(seed=3)
    encoder = next(name for name in below if name.endswith(".B"))
    whole[encoder] = torch.ones(1, 2, 2)
    assert not lora.is_trained(encoder)
    half = lora.weakened(whole, 0.5)
    assert torch.equal(half[encoder], whole[encoder])
    trained = [name for name in whole if lora.is_trained(name)]
    assert all(torch.equal(half[name], whole[name] * (0.5 if name.endswith(".B") else 1)) for name in trained)
    assert all(torch.equal(weight, whole[name]) for name, weight in lora.weakened(whole, 1.0).items())
