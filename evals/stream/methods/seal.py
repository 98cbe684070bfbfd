"""SEAL's inner loop (Zweiger et al. 2025, arXiv 2506.10943): a fresh LoRA for each fact, merged one after another.

As in its experiment on continual self-edits: LoRA of rank 32 and alpha 64, AdamW at 1e-3 falling linearly to
zero, 10 epochs of batches of one, plain text, loss on all tokens, gradient norm 1, the title in front of each
line; then merged into the weights, from which the next fact starts. No rehearsal, no anchor, no gate. The LoRA
is on `q_proj` and `v_proj`: its code names no modules, and those are what PEFT takes for Qwen2 and Llama.

Where this departs from it:

- The lines are the statement and the implications that Engram's author writes, greedily, from the untouched
  base; SEAL's model samples them at temperature 1 from its own, drifting weights. An implication of this
  author is a question and a reply, and is trained on as one line.
- Texts are not padded. SEAL pads to 2048 tokens with the end token and takes a loss there.
- No self-edit is chosen by reward, and the author is not trained by reinforcement.
- The merge is in the number format of the base; SEAL's is bfloat16.
"""

import copy
import random
from collections.abc import Sequence

import torch

from evals.stream.datasets import Item
from evals.stream.methods.protocol import Question
from evals.stream.model import Setup, with_layers
from worker.author import tasks
from worker.author.client import Author, Job
from worker.training.optimizer import StackedAdamW
from worker.training.rows import Ids
from worker.training.stacked_lora import StackedLora, Weights
from worker.training.vocabulary import cross_entropy

RANK = 32
LEARNING_RATE = 1e-3
EPOCHS = 10
MAX_NORM = 1.0
MODULES = ("q_proj", "v_proj")


class Seal:
    """Holds a base of its own, since merging changes it."""

    can_resume = False

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.outcome = ""
        self.lora = with_layers(copy.deepcopy(setup.learner.lora), rank=RANK, first_layer=0, kinds=MODULES)
        self.num_told = 0

    def tell(self, statement: str, item: Item) -> None:
        self.num_told += 1
        texts = training_texts(statement, item.title, self.setup.author)
        self.outcome = f"{len(texts)} lines"
        tokenizer = self.lora.base.tokenizer
        rows = [tuple(ids) for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]
        merge(self.lora, finetune(self.lora, rows, seed=self.setup.settings.seed + self.num_told))

    def answer(self, questions: Sequence[Question]) -> list[str]:
        return self.setup.answer([question.text for question in questions], None, lora=self.lora)

    def weights(self, prompts: Sequence[str]) -> list[Weights | None]:
        """The sum of all merges as one LoRA of full rank: A [1, in, in] is the identity, B [1, out, in] the change."""
        changes: Weights = {}
        identity: dict[int, torch.Tensor] = {}
        for name in self.lora.trained:
            before, now = self.setup.learner.lora.modules[name].base.weight, self.lora.modules[name].base.weight
            width = now.shape[1]
            changes[f"{name}.A"] = identity.setdefault(width, torch.eye(width, device=now.device)[None])
            changes[f"{name}.B"] = (now.float() - before.float())[None] / self.lora.scale
        return [changes if self.num_told else None] * len(prompts)

    def close(self) -> None:
        pass


def training_texts(statement: str, title: str, author: Author) -> list[str]:
    """The implications line by line, and the statement, each behind the title where there is one."""
    (output,) = author.write_all([Job(tasks.IMPLY, statement)])
    implied = [f"{item.question} {item.reply}" for item in tasks.read_implications(output)]
    return [f"{title}\n{text}" if title else text for text in [*dict.fromkeys(implied), statement]]


def finetune(lora: StackedLora, rows: Sequence[Ids], *, seed: int) -> Weights:
    """Train a fresh LoRA on whole texts, one at a time, in a new order each epoch."""
    rng = random.Random(seed)
    weights = {name: weight.requires_grad_() for name, weight in lora.fresh(seed=seed).items()}
    optimizer = StackedAdamW(weights)
    order = [row for _ in range(EPOCHS) for row in rng.sample(rows, len(rows)) if len(row) > 1]
    for step, row in enumerate(order):
        with lora.use(weights):
            text_loss(lora, row).backward()  # type: ignore[no-untyped-call]
        rate = LEARNING_RATE * (1 - step / len(order))
        optimizer.step(torch.tensor([rate], device=lora.base.device), max_norm=MAX_NORM)
    return {name: weight.detach() for name, weight in weights.items()}


def text_loss(lora: StackedLora, row: Ids) -> torch.Tensor:
    """Mean cross-entropy of every token but the first, in nats."""
    base = lora.base
    ids_T = torch.tensor(row, device=base.device)
    hidden_TD = base.decoder(input_ids=ids_T[None]).last_hidden_state[0]
    return cross_entropy(hidden_TD[:-1], base.model.lm_head.weight, ids_T[1:]).mean()


@torch.no_grad()
def merge(lora: StackedLora, weights: Weights) -> None:
    """Add one candidate's LoRA to the weights of the base that it wraps, in place."""
    for name in lora.trained:
        weight = lora.modules[name].base.weight
        weight += (lora.scale * (weights[f"{name}.B"][0] @ weights[f"{name}.A"][0])).to(weight.dtype)
