"""Answer prompts greedily with the resident base, for one candidate or for many at once."""

from collections.abc import Sequence

import torch

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
) -> list[list[list[int]]]:
    """Answers as token ids, [candidate][prompt], without the end token's tail.

    `prompts` are full token rows. With `weights` None the bare base answers, as one candidate.
    """
    count = next(iter(weights.values())).shape[0] if weights else 1
    answers: list[list[list[int]]] = [[[] for _ in prompts] for _ in range(count)]
    order = sorted(range(len(prompts)), key=lambda index: len(prompts[index]))
    step = max(1, _ROWS_AT_ONCE // count)
    with lora.use(weights):
        for start in range(0, len(order), step):
            chunk = order[start : start + step]
            outputs = _greedy(base, [prompts[index] for index in chunk], copies=count, max_tokens=max_tokens)
            for position, output in enumerate(outputs):
                answers[position // len(chunk)][chunk[position % len(chunk)]] = output
    return answers


def _greedy(base: ResidentBase, prompts: list[Ids], *, copies: int, max_tokens: int) -> list[list[int]]:
    width = max(len(prompt) for prompt in prompts)
    end = base.tokenizer.eos_token_id
    ids = torch.full((len(prompts), width), end)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        ids[row, width - len(prompt) :] = torch.tensor(prompt)
        mask[row, width - len(prompt) :] = 1
    output = base.model.generate(
        input_ids=ids.repeat(copies, 1).to(base.device),
        attention_mask=mask.repeat(copies, 1).to(base.device),
        max_new_tokens=max_tokens,
        do_sample=False,
        pad_token_id=end,
        eos_token_id=end,
    )
    return [_until(row, end) for row in output[:, width:].tolist()]


def _until(ids: list[int], end: int) -> list[int]:
    """Keep the end token as the last one, if it came."""
    return ids[: ids.index(end) + 1] if end in ids else ids
