"""Answer prompts with the resident base, for one candidate or for many at once.

The tokens that all prompts share are computed once a candidate. Prompts are padded on the left,
between that prefix and themselves, so that all answers grow in step.
"""

from collections.abc import Sequence

import torch
from transformers import DynamicCache

from worker.training.base import ResidentBase
from worker.training.rows import Ids
from worker.training.stacked_lora import StackedLora, Weights

_ROWS_AT_ONCE = 160


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
    with lora.use(weights):
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
        self.drawn = [row for row, temperature in enumerate(temperatures) if temperature > 0]
        self.temperatures_R1 = torch.tensor([t for t in temperatures if t > 0], device=generator.device)[:, None]
        self.generator = generator

    def __call__(self, logits_BV: torch.Tensor) -> torch.Tensor:
        chosen_B = logits_BV.argmax(-1)
        if self.drawn:
            share_RV = (logits_BV[self.drawn].float() / self.temperatures_R1).softmax(-1)
            chosen_B[self.drawn] = torch.multinomial(share_RV, 1, generator=self.generator)[:, 0]
        return chosen_B


def _answer(
    base: ResidentBase, prefix: Ids, prompts: Sequence[Ids], next_token: _Chooser, *, copies: int, max_tokens: int
) -> list[list[int]]:
    """Outputs of all rows, candidate by candidate."""
    end, rows = base.tokenizer.eos_token_id, len(prompts)
    width = max(len(prompt) for prompt in prompts)
    ids = torch.full((rows, width), end)
    mask = torch.zeros(rows, len(prefix) + width, dtype=torch.long)
    mask[:, : len(prefix)] = 1
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, len(prefix) + width - len(prompt) :] = 1
    ids, mask = (x.repeat(copies, 1).to(base.device) for x in (ids, mask))
    positions = (mask.cumsum(-1) - 1).clamp_min(0)[:, len(prefix) :]
    cache = _prefix_cache(base, prefix, copies=copies, rows=rows)
    outputs: list[torch.Tensor] = []
    finished_B = torch.zeros(len(ids), dtype=torch.bool, device=base.device)
    while True:
        hidden_BTD = base.decoder(
            input_ids=ids, attention_mask=mask, position_ids=positions, past_key_values=cache
        ).last_hidden_state
        # Two dimensions: of three, not contiguous, the CPU's matrix product first copies the head for each row.
        chosen_B = next_token(base.model.lm_head(hidden_BTD[:, -1])).masked_fill(finished_B, end)
        outputs.append(chosen_B)
        finished_B |= chosen_B == end
        if len(outputs) == max_tokens or finished_B.all():
            return [_until(row, end) for row in torch.stack(outputs, 1).tolist()]
        ids = chosen_B[:, None]
        mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
        positions = positions[:, -1:] + 1


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
