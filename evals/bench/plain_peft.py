"""Train one candidate the plain way: PEFT's LoRA, the Hugging Face Trainer, whole padded sequences.

The yardstick. It does the same work as `worker.training.trainer` on the same rows, in the way that
the libraries' documentation shows: batches padded to their longest row, labels -100 where nothing
is learned, the model's own loss and layers. On anchors it adds the KL to the base, which is
the same model with its adapter disabled.
"""

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import PrinterCallback, TrainerCallback, TrainingArguments
from transformers import Trainer as HuggingFaceTrainer

from evals.bench.exercise import StepRows
from evals.bench.trail import Trail
from worker.training.rows import Ids
from worker.training.steps import TrainingPlan, schedule

IGNORED = -100
_SAME_FOR_ALL = {
    "weight_decay": 0.0,
    "train_sampling_strategy": "sequential",
    "remove_unused_columns": False,
    "dataloader_pin_memory": False,
    "save_strategy": "no",
    "logging_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
}


@dataclass(frozen=True, slots=True)
class Way:
    """What a user of the libraries may choose: the attention's implementation, and autocast to bfloat16."""

    attention: str
    autocast: bool

    def __str__(self) -> str:
        return f"{self.attention} attention, {'with' if self.autocast else 'no'} autocast"


@dataclass(frozen=True, slots=True)
class Example:
    """A whole sequence: the tokens from `answer_from` on are the answer."""

    ids: Ids
    answer_from: int
    is_anchor: bool


def examples_of(prefix: Ids, step: StepRows) -> list[Example]:
    """The rows of one step as whole sequences."""
    return [
        Example(prefix + row.prompt + row.answer, len(prefix) + len(row.prompt), is_anchor)
        for rows, is_anchor in ((step.learned, False), (step.anchored, True))
        for row in rows
    ]


def collate(examples: Sequence[Example]) -> dict[str, torch.Tensor]:
    """Pad on the right to the longest of B examples, T tokens.

    input_ids, attention_mask, labels: [B, T]; labels are IGNORED but for answers of rows that are
    no anchors. anchored: [B, T], true at the answer tokens of anchors.
    """
    width = max(len(example.ids) for example in examples)
    ids_BT = torch.zeros(len(examples), width, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    labels_BT = torch.full_like(ids_BT, IGNORED)
    anchored_BT = torch.zeros_like(ids_BT, dtype=torch.bool)
    for index, example in enumerate(examples):
        answer = slice(example.answer_from, len(example.ids))
        ids_BT[index, : answer.stop] = torch.tensor(example.ids)
        mask_BT[index, : answer.stop] = 1
        if example.is_anchor:
            anchored_BT[index, answer] = True
        else:
            labels_BT[index, answer] = ids_BT[index, answer]
    return {"input_ids": ids_BT, "attention_mask": mask_BT, "labels": labels_BT, "anchored": anchored_BT}


def ways_for(dtype: torch.dtype) -> list[Way]:
    """Every way for a base of this dtype: autocast changes nothing over a float32 base."""
    autocasts = (False, True) if dtype == torch.bfloat16 else (False,)
    return [Way(attention, autocast) for attention in ("sdpa", "eager") for autocast in autocasts]


def train_plainly(
    model: Any,
    adapter: Path,
    steps: Sequence[StepRows],
    *,
    way: Way,
    prefix: Ids,
    plan: TrainingPlan,
    learning_rate: float,
    now: Callable[[], float],
) -> Trail:
    """Train the PEFT adapter in folder `adapter` on `steps`, one batch each; the weights of `model` stay as they are.

    `plan` gives anchor weight, gradient norm and the course of the rate. Adapter weights are float32, as PEFT
    makes them over any base.
    """
    model.set_attn_implementation(way.attention)
    peft = PeftModel.from_pretrained(model, adapter, is_trainable=True)
    examples = [example for step in steps for example in examples_of(prefix, step)]
    with tempfile.TemporaryDirectory(prefix="engram-bench-") as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=len(examples) // len(steps),
            max_steps=len(steps),
            learning_rate=learning_rate,
            max_grad_norm=plan.max_norm,
            bf16=way.autocast,
            use_cpu=model.device.type == "cpu",
            **_SAME_FOR_ALL,
        )
        trail = Trail(begun_s=now())
        trainer = _AnchoredTrainer(peft, arguments, examples, plan, trail)
        trainer.remove_callback(PrinterCallback)
        trainer.add_callback(_Clock(trail, now))
        trainer.train()
    peft.unload()
    return trail


class _Clock(TrainerCallback):  # type: ignore[misc]
    def __init__(self, trail: Trail, now: Callable[[], float]) -> None:
        self.trail, self.now = trail, now

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.trail.ends_s.append(self.now())


class _AnchoredTrainer(HuggingFaceTrainer):  # type: ignore[misc]
    """The Hugging Face Trainer with a KL to the base on anchors, and our course of the learning rate."""

    def __init__(self, model: Any, arguments: Any, examples: list[Example], plan: TrainingPlan, trail: Trail) -> None:
        super().__init__(model=model, args=arguments, train_dataset=examples, data_collator=collate)
        self.plan, self.trail = plan, trail

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        chosen = optimizer or self.optimizer
        self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(chosen, lambda step: schedule(step, self.plan))
        return self.lr_scheduler

    def compute_loss(self, model: Any, inputs: dict[str, torch.Tensor], **_: Any) -> torch.Tensor:
        anchored_BT = inputs.pop("anchored")
        base_logits_NV = _base_logits(model, inputs, anchored_BT) if anchored_BT.any() else None
        output = model(**inputs)
        loss: torch.Tensor = output.loss
        self.trail.note_loss.append([loss.item()])
        if base_logits_NV is not None:
            kl = _kl(base_logits_NV, _predicting(output.logits, anchored_BT))
            self.trail.anchor_kl.append([kl.item()])
            loss = loss + self.plan.anchor_weight * kl
        return loss


@torch.no_grad()
def _base_logits(model: Any, inputs: dict[str, torch.Tensor], anchored_BT: torch.Tensor) -> torch.Tensor:
    """The bare base's logits [N, V] at the anchors' N answer tokens, from a pass over the anchor rows alone."""
    rows = anchored_BT.any(-1)
    with model.disable_adapter():
        output = model(input_ids=inputs["input_ids"][rows], attention_mask=inputs["attention_mask"][rows])
    return _predicting(output.logits, anchored_BT[rows])


def _predicting(logits_BTV: torch.Tensor, chosen_BT: torch.Tensor) -> torch.Tensor:
    """Logits [N, V] that predict the chosen tokens: those of the token before each."""
    return logits_BTV[:, :-1][chosen_BT[:, 1:]]


def _kl(base_logits_NV: torch.Tensor, logits_NV: torch.Tensor) -> torch.Tensor:
    """Mean KL(base || candidate) a token, in nats; over the vocabulary in float32 or wider."""
    theirs, ours = ((x if x.dtype == torch.float64 else x.float()).log_softmax(-1) for x in (base_logits_NV, logits_NV))
    return (theirs.exp() * (theirs - ours)).sum(-1).mean()
