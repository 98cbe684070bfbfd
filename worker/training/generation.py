"""Answer prompts with the resident base, for one candidate or for many at once.

The tokens that all prompts share are computed once a candidate. Prompts are padded on the left,
between that prefix and themselves, so that all answers grow in step. Rows that have ended are left out.
"""

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from worker.training.base import ResidentBase
from worker.training.grouped_attention import grouped
from worker.training.rows import Ids
from worker.training.stacked_lora import StackedLora, Weights

_ROWS_AT_ONCE = 160
_LARGEST_SHARE_KEPT = 0.8


@torch.no_grad()
def generate(
    base: ResidentBase,
    lora: StackedLora,
    weights: Weights | None,
    prompts: Sequence[Ids],
    *,
    max_tokens: int,
    prefix: Ids = (),
    temperatures: Sequence[float] | None = None,
    seed: int = 0,
) -> list[list[list[int]]]:
    """Answers as token ids, [candidate][prompt]; the end token is kept as the last one, if it came.

    `prompts` go on from `prefix`. With `weights` None the bare base answers, as one candidate.
    Answers are greedy where `temperatures`, one for each prompt, are 0 or not given.
    """
    count = next(iter(weights.values())).shape[0] if weights else 1
    answers: list[list[list[int]]] = [[[] for _ in prompts] for _ in range(count)]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    step = max(1, _ROWS_AT_ONCE // count)
    generator = torch.Generator(base.device).manual_seed(seed)
    with lora.use(weights), grouped(base.model):
        for start in range(0, len(order), step):
            chunk = order[start : start + step]
            warmth = [temperatures[index] if temperatures else 0.0 for index in chunk] * count
            next_token = _Chooser(warmth, generator)
            rows = [prompts[index] for index in chunk]
            outputs = _answer(base, prefix, rows, next_token, copies=count, max_tokens=max_tokens)
            for position, output in enumerate(outputs):
                answers[position // len(chunk)][chunk[position % len(chunk)]] = output
    return answers


class _Chooser:
    """Chooses the next token of each row: the likeliest, or one drawn at the row's temperature."""

    def __init__(self, temperatures: Sequence[float], generator: torch.Generator) -> None:
        self.temperatures_B = torch.tensor(temperatures, device=generator.device)
        self.generator = generator

    def __call__(self, logits_BV: torch.Tensor, rows_B: torch.Tensor) -> torch.Tensor:
        """`rows_B` says which rows the logits are of."""
        chosen_B = logits_BV.argmax(-1)
        temperatures_B = self.temperatures_B[rows_B]
        drawn_B = temperatures_B > 0
        if drawn_B.any():
            share_RV = (logits_BV[drawn_B].float() / temperatures_B[drawn_B, None]).softmax(-1)
            chosen_B[drawn_B] = torch.multinomial(share_RV, 1, generator=self.generator)[:, 0]
        return chosen_B


def _answer(
    base: ResidentBase, prefix: Ids, prompts: Sequence[Ids], next_token: _Chooser, *, copies: int, max_tokens: int
) -> list[list[int]]:
    """Outputs of all rows, candidate by candidate. A prompt that stands there several times, to be answered by
    different draws, is read once."""
    end = base.tokenizer.eos_token_id
    distinct = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((len(distinct), width), end)
    mask = torch.zeros(len(distinct), len(prefix) + width, dtype=torch.long)
    mask[:, : len(prefix)] = 1
    for prompt, number in distinct.items():
        ids[number, width - len(prompt) :] = torch.tensor(prompt)
        mask[number, len(prefix) + width - len(prompt) :] = 1
    ids, mask = (x.repeat(copies, 1).to(base.device) for x in (ids, mask))
    positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, len(prefix) :]
    cache = _prefix_cache(base, prefix, copies=copies, rows=len(distinct))
    read_B = torch.tensor(
        [copy * len(distinct) + distinct[prompt] for copy in range(copies) for prompt in prompts], device=base.device
    )
    outputs = torch.full((len(read_B), max_tokens), end, device=base.device)
    rows_B = torch.arange(len(read_B), device=base.device)  # which rows are still computed
    finished_B = torch.zeros(len(read_B), dtype=torch.bool, device=base.device)
    for step in range(max_tokens):
        hidden_BTD = base.decoder(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache
        ).last_hidden_state
        # Two dimensions: of three, not contiguous, the CPU's matrix product first copies the head for each row.
        logits_BV = base.model.lm_head(hidden_BTD[:, -1])
        if step == 0 and len(read_B) > len(ids):
            cache.batch_select_indices(read_B)
            positions, mask, logits_BV = positions[read_B], mask[read_B], logits_BV[read_B]
        chosen_B = next_token(logits_BV, rows_B).masked_fill(finished_B, end)
        outputs[rows_B, step] = chosen_B
        finished_B = chosen_B == end
        if finished_B.all():
            break
        ids, positions = chosen_B[:, None], positions[:, -1:] + 1
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        if (kept_B := _worth_keeping(finished_B, copies)) is not None:
            cache.batch_select_indices(kept_B)
            ids, positions, mask = ids[kept_B], positions[kept_B], mask[kept_B]
            rows_B, finished_B = rows_B[kept_B], finished_B[kept_B]
    return [_until(row, end) for row in outputs.tolist()]


def _worth_keeping(finished_B: torch.Tensor, copies: int) -> torch.Tensor | None:
    """The rows to go on with, as many of each candidate, where that leaves out enough finished ones to pay for copying
    the others' keys and values; else None."""
    finished_CN = finished_B.view(copies, -1)
    most = int((~finished_CN).sum(1).max())
    if most > _LARGEST_SHARE_KEPT * finished_CN.shape[1]:
        return None
    first_CK = finished_CN.to(torch.uint8).argsort(dim=1, stable=True)[:, :most]
    begin_C1 = torch.arange(copies, device=finished_B.device)[:, None] * finished_CN.shape[1]
    return (begin_C1 + first_CK.sort(1).values).flatten()


def _prefix_cache(base: ResidentBase, prefix: Ids, *, copies: int, rows: int) -> DynamicCache:
    """Keys and values of the prefix under each candidate, repeated for each of its rows."""
    cache = DynamicCache(config=base.model.config)
    if prefix:
        ids = torch.tensor([prefix], device=base.device).repeat(copies, 1)
        base.decoder(input_ids=ids, past_key_values=cache)
        cache.batch_repeat_interleave(rows)
    return cache


def _until(ids: list[int], end: int) -> list[int]:
    """Keep the end token as the last one, if it came."""
    return ids[: ids.index(end) + 1] if end in ids else ids
