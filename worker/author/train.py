"""Train the author adapter from the example files: `engram author train`.

Plain supervised fine-tuning: one LoRA, loss on the author's words only. Rows of about the same
length share a batch, so little is spent on padding.
"""

import argparse
import json
import random
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from engram.settings import Settings
from worker.author import tasks
from worker.author.dataset import Row, load_examples, rows_of, split
from worker.training.base import ResidentBase, load_base
from worker.training.optimizer import StackedAdamW, falling
from worker.training.stacked_lora import StackedLora
from worker.training.vocabulary import cross_entropy

ADAPTER_DIR = Path(__file__).parent / "adapter"


@dataclass(frozen=True, slots=True)
class Config:
    """How the author is trained; written beside the adapter."""

    epochs: int = 3
    learning_rate: float = 8e-4
    rank: int = 16
    first_layer: int = 10
    tokens_per_batch: int = 2500
    warmup_share: float = 0.04
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Tokens:
    prompt: list[int]
    target: list[int]


def tokenise(row: Row, tokenizer: Any) -> Tokens:
    """Render a row with the base's chat template; the end-of-turn token belongs to the target."""
    text = tokenizer.apply_chat_template(tasks.prompt(row.task, row.text), tokenize=False, add_generation_prompt=True)
    prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
    return Tokens(prompt, [*tokenizer(row.target, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id])


def batches(rows: list[Tokens], *, tokens_per_batch: int, rng: random.Random) -> list[list[Tokens]]:
    """Group rows of similar length into batches of at most so many padded tokens, in random order."""
    groups: list[list[Tokens]] = [[]]
    for row in sorted(rows, key=lambda row: len(row.prompt) + len(row.target) + rng.random()):
        size = -(-(len(row.prompt) + len(row.target)) // 16) * 16
        if groups[-1] and size * (len(groups[-1]) + 1) > tokens_per_batch:
            groups.append([])
        groups[-1].append(row)
    rng.shuffle(groups)
    return groups


def loss_of(base: ResidentBase, batch: list[Tokens]) -> torch.Tensor:
    """Mean cross-entropy over target tokens; logits are computed at those positions only."""
    # Few distinct widths: each new shape costs the CPU's matrix kernels seconds to prepare.
    width = -(-max(len(row.prompt) + len(row.target) for row in batch) // 16) * 16
    ids_BT = torch.zeros(len(batch), width, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    labels_BT = torch.full_like(ids_BT, -100)
    for index, row in enumerate(batch):
        length = len(row.prompt) + len(row.target)
        ids_BT[index, :length] = torch.tensor(row.prompt + row.target)
        mask_BT[index, :length] = 1
        labels_BT[index, len(row.prompt) - 1 : length - 1] = torch.tensor(row.target)
    ids_BT, mask_BT, labels_BT = (t.to(base.device) for t in (ids_BT, mask_BT, labels_BT))
    hidden_BTD = base.decoder(input_ids=ids_BT, attention_mask=mask_BT).last_hidden_state
    wanted = labels_BT != -100
    return cross_entropy(hidden_BTD[wanted], base.model.lm_head.weight, labels_BT[wanted]).mean()


def train(base: ResidentBase, output: Path, config: Config, *, start: Path | None = None) -> None:
    """Train on all but the held-out examples, from the adapter in `start` if given; save now and then."""
    rng = random.Random(config.seed)
    # Eager attention: on CPU the fused kernel's backward pass is slower at these lengths.
    base.model.set_attn_implementation("eager")
    lora = StackedLora(base, rank=config.rank, first_layer=config.first_layer)
    initial = lora.load(start) if start else lora.fresh(seed=config.seed)
    weights = {name: weight.requires_grad_() for name, weight in initial.items()}
    optimizer = StackedAdamW(weights)
    train_examples, held_out = split(load_examples())
    plan = _plan(train_examples, base.tokenizer, config, rng)
    started = time.monotonic()
    for step, batch in enumerate(plan):
        with lora.use(weights):
            loss = loss_of(base, batch)
            loss.backward()  # type: ignore[no-untyped-call]
        rate = config.learning_rate * _schedule(step / len(plan), config.warmup_share)
        optimizer.step(torch.tensor([rate], device=base.device), max_norm=1.0)
        if step % 20 == 19 or step == len(plan) - 1:
            print(
                f"step {step + 1}/{len(plan)}  loss {loss.item():.3f}  {time.monotonic() - started:.0f} s", flush=True
            )
        if step % 100 == 99 or step == len(plan) - 1:
            lora.save(weights, 0, output)
    (output / "training.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
    with lora.use(weights):
        print(f"held-out loss {_held_out_loss(base, held_out):.3f} nats a token")


def _plan(examples: list[Any], tokenizer: Any, config: Config, rng: random.Random) -> list[list[Tokens]]:
    """All batches of all epochs; each epoch draws other questions from the same examples."""
    return [
        batch
        for epoch in range(config.epochs)
        for batch in batches(
            [tokenise(row, tokenizer) for row in rows_of(examples, seed=config.seed + epoch)],
            tokens_per_batch=config.tokens_per_batch,
            rng=rng,
        )
    ]


@torch.no_grad()
def _held_out_loss(base: ResidentBase, examples: list[Any]) -> float:
    rows = [tokenise(row, base.tokenizer) for row in rows_of(examples, seed=10_000)]
    losses = [loss_of(base, [row]).item() * len(row.target) for row in rows]
    return sum(losses) / sum(len(row.target) for row in rows)


def _schedule(progress: float, warmup_share: float) -> float:
    """Linear warm-up, then cosine to a tenth."""
    if progress < warmup_share:
        return (progress + 1e-3) / warmup_share
    return falling((progress - warmup_share) / (1 - warmup_share))


def main() -> None:
    defaults = Config()
    parser = argparse.ArgumentParser(prog="engram author train", description=__doc__)
    parser.add_argument("--base", type=Path, help="base model folder (default: the prepared one)")
    parser.add_argument("--output", type=Path, default=ADAPTER_DIR)
    parser.add_argument("--start", type=Path, help="adapter folder to go on from (default: an untrained one)")
    for name in ("epochs", "rank", "first_layer", "tokens_per_batch", "seed"):
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=getattr(defaults, name))
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    options = vars(parser.parse_args())
    base = load_base(options.pop("base") or _prepared_base(), Settings())
    train(base, options.pop("output"), start=options.pop("start"), config=Config(**options))


def _prepared_base() -> Path:
    from worker.base_model import prepare

    return Path(prepare(Settings()))


if __name__ == "__main__":
    main()
