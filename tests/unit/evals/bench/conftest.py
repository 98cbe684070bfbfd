"""A workbench on the tiny base: everything of the real one, with few anchors, controls and steps."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engram.settings import Settings
from evals.bench.workbench import Workbench
from tests.fakes.base import tiny_base
from worker.learner import Learner
from worker.training.anchors import AnchorPrompts, AnswerCache, load_prompts
from worker.training.rows import ChatRows
from worker.training.stacked_lora import StackedLora
from worker.training.trainer import Trainer

FIRST_LAYER = 1
RANK = 4


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def learner(tmp_path: Path) -> Learner:
    base = tiny_base()
    lora, rows = StackedLora(base, rank=RANK, first_layer=FIRST_LAYER), ChatRows(base.tokenizer)
    cache = AnswerCache(tmp_path / "models", base_path=base.path, max_tokens=24)
    learner = Learner(base, lora, rows, Trainer(base, lora, rows), _few(load_prompts()), cache, RANK)
    learner.warm_up()
    return learner


@pytest.fixture
def said() -> list[str]:
    """What the bench told of its progress."""
    return []


@pytest.fixture
def bench(learner: Learner, settings: Settings, said: list[str]) -> Workbench:
    return Workbench(learner, settings, lambda: tiny_base().model, said.append, repeats=2, timed_steps=2)


def _few(prompts: AnchorPrompts) -> AnchorPrompts:
    general = [prompt for prompt in prompts.train if prompt not in prompts.personal][:10]
    personal = [prompt for prompt in prompts.train if prompt in prompts.personal][:40]
    return replace(
        prompts,
        train=(*general, *personal),
        held_out=prompts.held_out[:4],
        controls=prompts.controls[:4],
        never_told=prompts.never_told[:8],
    )
