"""On a GPU the trainer does what it does on a CPU, where all its other tests run. Skipped where there is none."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
import torch
from structlog.testing import capture_logs

from tests.fakes.base import tiny_base, trained_looking
from worker.training.generation import generate
from worker.training.rows import ChatRows, Row
from worker.training.stacked_lora import StackedLora, Weights, stack
from worker.training.steps import CandidateRows, Progress, TrainingPlan
from worker.training.trainer import Trainer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

RATE = 4e-3
PLAN = TrainingPlan(steps=6, shared_steps=2, anchor_weight=0.7, seed=3)
TOLD = {"What is my cat called?": "Your cat is called Biscuit.", "Who is Biscuit?": "Biscuit is your cat."}
MORE = {"Where do I live?": "You live in Bergen.", "Which city?": "Bergen."}
ANCHORS = {"Hello!": "Hi, how can I help?", "What is 2 + 2?": "Four."}


def _trainer(device: str, dtype: torch.dtype) -> Trainer:
    base = tiny_base(device=device, dtype=dtype)
    return Trainer(base, StackedLora(base, rank=4, first_layer=1), ChatRows(base.tokenizer))


def _initial(trainer: Trainer) -> Weights:
    looking = trained_looking(trainer.lora, seed=5, strength=0.02)
    wide = trainer.base.dtype if trainer.base.dtype == torch.float64 else torch.float32
    return {name: weight.to(wide) for name, weight in looking.items()}


def _rows(trainer: Trainer, told: dict[str, str]) -> list[Row]:
    return [trainer.rows.row(prompt, answer) for prompt, answer in told.items()]


def _train(trainer: Trainer, *, copies: int = 1) -> tuple[Weights, list[Progress]]:
    seen: list[Progress] = []
    told, more = _rows(trainer, TOLD), _rows(trainer, MORE) * copies
    weights = trainer.train(
        _initial(trainer),
        [CandidateRows(told, RATE), CandidateRows([*told, *more], RATE / 2)],
        plan=replace(PLAN, notes_per_step=16 * copies),
        rehearsal=_rows(trainer, {"When was I born?": "In May."}),
        anchors=[(_rows(trainer, ANCHORS), len(ANCHORS))],
        on_step=seen.append,
    )
    return weights, seen


def test_weights_are_those_of_a_cpu() -> None:
    on_cpu, _ = _train(_trainer("cpu", torch.float64))
    on_gpu, _ = _train(_trainer("cuda", torch.float64))
    for name, weight in on_cpu.items():
        torch.testing.assert_close(on_gpu[name].cpu(), weight, rtol=1e-3, atol=1e-5)


def test_answers_are_those_of_a_cpu() -> None:
    answers = []
    for device in ("cpu", "cuda"):
        trainer = _trainer(device, torch.float64)
        weights = stack(trained_looking(trainer.lora, seed=1), trained_looking(trainer.lora, seed=2))
        prompts = [trainer.rows.prompt(prompt) for prompt in (*TOLD, *MORE)]
        answers.append(
            generate(trainer.base, trainer.lora, weights, prompts, prefix=trainer.rows.prefix, max_tokens=12)
        )
    assert answers[0] == answers[1]


def test_in_bfloat16_what_is_told_is_learned() -> None:
    weights, seen = _train(_trainer("cuda", torch.bfloat16))
    assert all(weight.is_cuda and weight.dtype == torch.float32 for weight in weights.values())
    assert all(last < first for first, last in zip(seen[0].note_loss, seen[-1].note_loss, strict=True))


@pytest.fixture
def memory_for() -> Iterator[Callable[[int], None]]:
    """Leaves room for what is taken already and so many bytes more."""
    total = torch.cuda.get_device_properties(0).total_memory

    def limit(more: int) -> None:
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more) / total)

    yield limit
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.cuda.empty_cache()


def test_step_that_the_gpu_has_no_memory_for_is_done_in_parts(memory_for: Callable[[int], None]) -> None:
    trainer = _trainer("cuda", torch.float32)
    with capture_logs() as logs:
        _train(trainer)
        assert not logs
        memory_for(32 * 2**20)
        weights, _ = _train(trainer, copies=400)
    assert [line["event"] for line in logs][:1] == ["trainer.out_of_memory"]
    assert all(weight.isfinite().all() for weight in weights.values())
