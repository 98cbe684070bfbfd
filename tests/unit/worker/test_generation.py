"""Greedy answers of many candidates in one padded batch are those that PEFT gives prompt by prompt."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from peft import PeftModel

from tests.fakes.base import tiny_base, trained_looking
from worker.training.base import ResidentBase
from worker.training.generation import generate
from worker.training.rows import ChatRows, Ids
from worker.training.stacked_lora import StackedLora, stack

MAX_TOKENS = 10
PROMPTS = ("Hi", "What is the name of the dentist who looks after my teeth in Bergen?", "Where do I live?", "And now?")


def _prompts(rows: ChatRows) -> list[Ids]:
    return [rows.prefix + rows.prompt(prompt) for prompt in PROMPTS]


def _one_by_one(model: torch.nn.Module, prompts: list[Ids], end: int) -> list[list[int]]:
    answers = []
    for prompt in prompts:
        output = model.generate(  # type: ignore[operator]
            input_ids=torch.tensor([prompt]), max_new_tokens=MAX_TOKENS, do_sample=False, pad_token_id=end
        )
        answers.append(output[0, len(prompt) :].tolist())
    return answers


def test_stacked_answers_equal_those_of_each_peft_model_without_padding(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, tmp_path: Path
) -> None:
    weights = stack(trained_looking(lora, seed=1), trained_looking(lora, seed=2))
    ours = generate(base, lora, weights, _prompts(rows), max_tokens=MAX_TOKENS)
    for candidate in (0, 1):
        lora.save(weights, candidate, tmp_path / str(candidate))
        peft = PeftModel.from_pretrained(tiny_base().model, tmp_path / str(candidate)).eval()
        assert ours[candidate] == _one_by_one(peft, _prompts(rows), base.tokenizer.eos_token_id)
    assert ours[0] != ours[1]


def test_without_weights_the_bare_base_answers(base: ResidentBase, lora: StackedLora, rows: ChatRows) -> None:
    ours = generate(base, lora, None, _prompts(rows), max_tokens=MAX_TOKENS)
    assert ours == [_one_by_one(tiny_base().model, _prompts(rows), base.tokenizer.eos_token_id)]


def test_more_rows_than_fit_at_once_come_back_in_order(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = stack(trained_looking(lora, seed=1), trained_looking(lora, seed=2))
    whole = generate(base, lora, weights, _prompts(rows), max_tokens=4)
    monkeypatch.setattr("worker.training.generation._ROWS_AT_ONCE", 4)
    assert generate(base, lora, weights, _prompts(rows), max_tokens=4) == whole


@pytest.mark.parametrize("prefix_tokens", [0, 4])
def test_tokens_before_all_prompts_may_be_given_once(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, prefix_tokens: int
) -> None:
    weights = stack(trained_looking(lora, seed=1), trained_looking(lora, seed=2))
    prefix = rows.prefix[:prefix_tokens]
    rests = [prompt[prefix_tokens:] for prompt in _prompts(rows)]
    whole = generate(base, lora, weights, _prompts(rows), max_tokens=MAX_TOKENS)
    assert generate(base, lora, weights, rests, prefix=prefix, max_tokens=MAX_TOKENS) == whole


@pytest.mark.parametrize("largest_share_kept", [0.0, 1.0])
def test_answer_stops_at_the_end_token_and_keeps_it(
    base: ResidentBase, lora: StackedLora, rows: ChatRows, monkeypatch: pytest.MonkeyPatch, largest_share_kept: float
) -> None:
    """The end token is one that some answers give early: whether rows that ended are left out changes no other."""
    monkeypatch.setattr("worker.training.generation._LARGEST_SHARE_KEPT", largest_share_kept)
    weights = stack(trained_looking(lora, seed=1), trained_looking(lora, seed=2))
    whole = generate(base, lora, weights, _prompts(rows), max_tokens=MAX_TOKENS)
    end = whole[1][0][3]
    ending = replace(base, tokenizer=SimpleNamespace(eos_token_id=end))
    stopped = generate(ending, lora, weights, _prompts(rows), max_tokens=MAX_TOKENS)
    assert stopped == [
        [answer[: answer.index(end) + 1] if end in answer else answer for answer in own] for own in whole
    ]
    assert len({len(answer) for own in stopped for answer in own}) > 1


def test_prompt_that_is_there_several_times_is_answered_as_it_is_alone(
    base: ResidentBase, lora: StackedLora, rows: ChatRows
) -> None:
    weights = stack(trained_looking(lora, seed=1), trained_looking(lora, seed=2))
    whole = generate(base, lora, weights, _prompts(rows), max_tokens=MAX_TOKENS)
    places = [2, 0, 2, 2, 1, 0]
    several = [_prompts(rows)[place] for place in places]
    again = generate(base, lora, weights, several, max_tokens=MAX_TOKENS)
    assert again == [[own[place] for place in places] for own in whole]
    drawn = generate(base, lora, None, several, max_tokens=MAX_TOKENS, temperatures=[3.0] * len(places), seed=1)[0]
    assert len({tuple(drawn[place]) for place in (0, 2, 3)}) > 1


def test_drawn_answers_differ_by_seed_and_leave_greedy_ones_alone(
    base: ResidentBase, lora: StackedLora, rows: ChatRows
) -> None:
    def draw(seed: int) -> list[list[int]]:
        drawn = generate(
            base, lora, None, _prompts(rows), max_tokens=MAX_TOKENS, temperatures=[3.0, 0.0, 3.0, 0.0], seed=seed
        )
        return drawn[0]

    greedy = generate(base, lora, None, _prompts(rows), max_tokens=MAX_TOKENS)[0]
    first, again, other = draw(1), draw(1), draw(2)
    assert first == again
    assert [first[1], first[3]] == [greedy[1], greedy[3]] == [other[1], other[3]]
    assert first[0] != other[0] != greedy[0]
