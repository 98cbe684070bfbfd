"""Train the question encoder from the author's examples: `engram encoder train`.

In the base's middle layers two wordings of one question are hardly nearer to each other than to
other questions. So what is learned from one wording is not found by another, and is found by
questions about something else. This LoRA on the layers below the trained ones pulls wordings
together and different questions apart, where the trained layers begin and a little above; a KL
term holds the base's answers to ordinary prompts.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch

from engram.settings import Settings
from worker.author.dataset import Example, load_examples, split
from worker.encoder import ADAPTER_DIR
from worker.encoder.contrast import Batches, contrast, groups_of, nearest_share
from worker.learner import Learner, open_learner
from worker.training.layers import through_layers
from worker.training.optimizer import StackedAdamW, warmed_up
from worker.training.packing import pack
from worker.training.rows import Row
from worker.training.stacked_lora import Weights
from worker.training.steps import Deck
from worker.training.vocabulary import kl_to_base

_QUESTIONS_AT_ONCE = 64


@dataclass(frozen=True, slots=True)
class Config:
    """How the encoder is trained; written beside the adapter. `read_at`: layers whose input the loss looks at."""

    steps: int = 380
    learning_rate: float = 5e-4
    rank: int = 16
    layers: int = 10
    read_at: tuple[int, ...] = (10, 15)
    facts_per_step: int = 18
    singles_per_step: int = 24
    anchors_per_step: int = 16
    anchor_weight: float = 4.0
    temperature: float = 0.07
    warmup_steps: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Reader:
    """The base with a candidate encoder in its lower layers."""

    learner: Learner

    def questions(self, questions: Sequence[str], weights: Weights | None, layers: Sequence[int]) -> list[torch.Tensor]:
        """What enters each of `layers` at the last token of each question's prompt, [questions, D], float32."""
        rows = [Row(self.learner.rows.prompt(question), (0,)) for question in questions]
        return [hidden.float() for hidden in self._hidden(rows, weights, layers)]

    def divergence(self, anchors: Sequence[Row], weights: Weights) -> torch.Tensor:
        """Mean KL(base || encoded) a token on the anchors' answers, in nats."""
        base = self.learner.base
        (hidden,) = self._hidden(anchors, weights, [base.num_layers])
        known = self.learner.trainer.base_hidden(anchors)
        return kl_to_base(base.decoder.norm(hidden)[None], base.model.lm_head.weight, known).mean()

    def _hidden(self, rows: Sequence[Row], weights: Weights | None, layers: Sequence[int]) -> list[torch.Tensor]:
        base = self.learner.base
        packed = pack(self.learner.rows.prefix, [[(row, 0) for row in rows]], base.device)
        hidden, found = base.decoder.embed_tokens(packed.ids_CT), []
        with self.learner.lora.use(weights):
            for first, last in pairwise((0, *layers)):
                hidden = through_layers(base, hidden, packed, first, last)
                found.append(hidden[packed.answer_at])
        return found


def train(learner: Learner, output: Path, config: Config) -> None:
    """Train on all but the held-out examples, and write the adapter."""
    reader, lora = Reader(learner), learner.lora.below(config.layers, rank=config.rank)
    examples, held_out = split(load_examples())
    batches = Batches(
        groups_of(examples),
        list(learner.prompts.own_questions),
        num_facts=config.facts_per_step,
        num_singles=config.singles_per_step,
        seed=config.seed,
    )
    anchors = learner.anchors(frozenset())
    decks = [Deck(rows, batches.rng) for rows in (anchors.general, anchors.personal)]
    weights = {name: weight.requires_grad_() for name, weight in lora.fresh(seed=config.seed).items()}
    optimizer = StackedAdamW(weights)
    print(f"held-out wordings found, layers {config.read_at}: {_found(reader, held_out, None, config)}", flush=True)
    started = time.monotonic()
    for step in range(config.steps):
        batch = batches.draw()
        groups_Q = torch.tensor(batch.groups, device=learner.base.device)
        read = reader.questions(batch.questions, weights, config.read_at)
        apart = torch.stack([contrast(each, groups_Q, temperature=config.temperature) for each in read]).mean()
        drawn = [row for deck in decks for row in deck.draw(config.anchors_per_step // 2)]
        divergence = reader.divergence(drawn, weights)
        (apart + config.anchor_weight * divergence).backward()  # type: ignore[no-untyped-call]
        rate = config.learning_rate * warmed_up(step, config.steps, warmup=config.warmup_steps)
        optimizer.step(torch.tensor([rate], device=learner.base.device), max_norm=1.0)
        if step % 20 == 19 or step == config.steps - 1:
            losses = f"contrast {apart.item():.3f}  KL {divergence.item():.3f}"
            print(f"step {step + 1}/{config.steps}  {losses}  {time.monotonic() - started:.0f} s", flush=True)
        if step % 100 == 99 or step == config.steps - 1:
            lora.save(weights, 0, output)
    (output / "training.json").write_text(json.dumps(asdict(config), indent=2) + "\n")
    print(f"held-out wordings found, layers {config.read_at}: {_found(reader, held_out, weights, config)}")


@torch.no_grad()
def _found(reader: Reader, examples: Sequence[Example], weights: Weights | None, config: Config) -> list[float]:
    """Of held-out questions, the share whose nearest of the others' first two wordings asks the same, by layer."""
    questions = [details for fact in groups_of(examples) for details in fact]
    known = [(wording, number) for number, wordings in enumerate(questions) for wording in wordings[:2]]
    asked = [(wording, number) for number, wordings in enumerate(questions) for wording in wordings[2:]]
    known_hidden, asked_hidden = (_read_all(reader, [q for q, _ in pairs], weights, config) for pairs in (known, asked))
    return [
        round(nearest_share(before, [n for _, n in known], after, [n for _, n in asked]), 3)
        for before, after in zip(known_hidden, asked_hidden, strict=True)
    ]


def _read_all(reader: Reader, questions: list[str], weights: Weights | None, config: Config) -> list[torch.Tensor]:
    chunks = [questions[at : at + _QUESTIONS_AT_ONCE] for at in range(0, len(questions), _QUESTIONS_AT_ONCE)]
    read = [reader.questions(chunk, weights, config.read_at) for chunk in chunks]
    return [torch.cat(layer) for layer in zip(*read, strict=True)]


def main() -> None:
    from worker.base_model import prepare

    defaults = Config()
    parser = argparse.ArgumentParser(prog="engram encoder train", description=__doc__)
    parser.add_argument("--base", type=Path, help="base model folder (default: the prepared one)")
    parser.add_argument("--output", type=Path, default=ADAPTER_DIR)
    for name in ("steps", "layers", "rank", "seed"):
        parser.add_argument(f"--{name}", type=int, default=getattr(defaults, name))
    options = vars(parser.parse_args())
    settings = Settings(lora_rank=options["rank"])
    learner = open_learner(options.pop("base") or prepare(settings), settings)
    learner.warm_up()
    train(learner, options.pop("output"), Config(**options))


if __name__ == "__main__":
    main()
