"""Train a cross-encoder for the judge from the pairs in `data/`: `engram supersession train --output FOLDER`.

It is examined alone with the held-out pairs after each epoch. The judge is all that lie in `adapters/`: what makes it
better there, by `engram supersession examine --adapters FOLDER`, is moved there by hand.
"""

import argparse
import json
import math
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import save_file

from scope.encoder import SentenceEncoder, fastest_dtype, load_encoder
from worker.supersession import DATA_DIR
from worker.supersession.judge import WEIGHTS, CrossEncoder, Judge, untrained, weights_of
from worker.training.optimizer import warmed_up

WRITTEN = "pairs-*.jsonl"
HELD_OUT = "held-out-*.jsonl"
REPLACES = "replaces"
_POOL = 8  # batches that are sorted by length together
_REPORT_EVERY = 20


@dataclass(frozen=True, slots=True)
class Config:
    """How the judge is trained; written beside the adapter."""

    epochs: int = 3
    batch: int = 32
    learning_rate: float = 5e-4
    head_rate: float = 1.5e-3
    rank: int = 16
    first_layer: int = 4
    warmup_steps: int = 20
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Example:
    """`replaces`: whether the new statement makes the old one untrue."""

    old: str
    new: str
    replaces: bool


def read_examples(pattern: str) -> list[Example]:
    """Pairs of the files with such names: `WRITTEN`, to train on, or `HELD_OUT`, to examine with."""
    paths = sorted(DATA_DIR.glob(pattern))
    rows = [json.loads(line) for path in paths for line in path.read_text(encoding="utf-8").splitlines()]
    return [Example(row["old"], row["new"], row["label"] == REPLACES) for row in rows]


def train(output: Path, config: Config) -> None:
    """Train on the pairs, examine after each epoch, and write the adapter."""
    torch.manual_seed(config.seed)
    rng = random.Random(config.seed)
    sentences, dtype = load_encoder(torch.float32), fastest_dtype()
    lora = _shape(sentences, config)
    encoder = untrained(sentences, lora)
    groups = [
        {"params": [p for p in encoder.model.parameters() if p.requires_grad], "rate": config.learning_rate},
        {"params": list(encoder.head.parameters()), "rate": config.head_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=0.01)
    examples = read_examples(WRITTEN)
    steps = config.epochs * math.ceil(len(examples) / config.batch)
    started, step, loss_sum = time.monotonic(), 0, 0.0
    print(f"{len(examples)} pairs, {steps} steps", flush=True)
    for epoch in range(config.epochs):
        encoder.model.train()  # with the dropout that it was made with
        for batch in _batches(examples, rng, size=config.batch):
            share = warmed_up(step, steps, warmup=config.warmup_steps)
            for group in optimizer.param_groups:
                group["lr"] = share * group["rate"]
            loss_sum += _learn(encoder, batch, optimizer, dtype=dtype)
            step += 1
            if step % _REPORT_EVERY == 0:
                mean, loss_sum = loss_sum / _REPORT_EVERY, 0.0
                print(f"step {step}/{steps}  loss {mean:.3f}  {time.monotonic() - started:.0f} s", flush=True)
        encoder.model.eval()
        for path in sorted(DATA_DIR.glob(HELD_OUT)):
            found = examined(Judge((encoder,)), read_examples(path.name))
            print(f"epoch {epoch + 1}, {path.stem}: {found}", flush=True)
        _save(encoder, lora, output, config)


def _shape(sentences: SentenceEncoder, config: Config) -> LoraConfig:
    return LoraConfig(
        r=config.rank,
        lora_alpha=config.rank,
        target_modules=["q", "k", "v", "o", "intermediate.dense", "output.dense"],
        layers_to_transform=list(range(config.first_layer, sentences.model.config.num_hidden_layers)),
    )


def examined(judge: Judge, examples: Sequence[Example]) -> str:
    """How many of the held-out pairs it judges rightly."""
    probabilities = judge.probabilities([(each.old, each.new) for each in examples])
    found, wrong = above(probabilities, examples, 0.5)
    changes = sum(each.replaces for each in examples)
    others = len(examples) - changes
    return f"{found} of {changes} replaced ones found, {wrong} of {others} others taken for replaced"


def above(probabilities: Sequence[float], examples: Sequence[Example], level: float) -> tuple[int, int]:
    """Changes and look-alikes that are more probable than this."""
    found = [each.replaces for each, probability in zip(examples, probabilities, strict=True) if probability > level]
    return sum(found), len(found) - sum(found)


def _learn(
    encoder: CrossEncoder, batch: Sequence[Example], optimizer: torch.optim.Optimizer, *, dtype: torch.dtype
) -> float:
    with torch.autocast("cpu", dtype, enabled=dtype != torch.float32):
        logits = encoder.logits([(each.old, each.new) for each in batch])
    labels = torch.tensor([float(each.replaces) for each in batch])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
    optimizer.step()
    return loss.item()


def _batches(examples: Sequence[Example], rng: random.Random, *, size: int) -> Iterator[list[Example]]:
    """All examples once, in batches of about the same length, in random order."""
    shuffled = rng.sample(examples, len(examples))
    pools = [shuffled[at : at + _POOL * size] for at in range(0, len(shuffled), _POOL * size)]
    for pool in pools:
        pool.sort(key=lambda each: len(each.old) + len(each.new))
    batches = [pool[at : at + size] for pool in pools for at in range(0, len(pool), size)]
    yield from rng.sample(batches, len(batches))


def _save(encoder: CrossEncoder, lora: LoraConfig, output: Path, config: Config) -> None:
    """Half precision: what is judged does not depend on more."""
    output.mkdir(parents=True, exist_ok=True)
    lora.save_pretrained(str(output))
    halves = {name: value.detach().half().contiguous() for name, value in weights_of(encoder).items()}
    save_file(halves, output / WEIGHTS)
    (output / "training.json").write_text(json.dumps(asdict(config), indent=2) + "\n")


def main() -> None:
    defaults = Config()
    parser = argparse.ArgumentParser(prog="engram supersession train", description=__doc__)
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where to write it")
    parser.add_argument("--learning-rate", type=float, default=defaults.learning_rate)
    for name in ("epochs", "batch", "rank", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    options = vars(parser.parse_args())
    train(options.pop("output"), Config(**options))


if __name__ == "__main__":
    main()
