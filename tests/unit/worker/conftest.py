"""A tiny base and its wrapped layers, made anew for each test: wrapping changes the model in place."""

import pytest
import torch

from tests.fakes.base import tiny_base
from worker.training.base import ResidentBase
from worker.training.rows import ChatRows
from worker.training.stacked_lora import StackedLora

FIRST_LAYER = 1
RANK = 4


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def base() -> ResidentBase:
    return tiny_base()


@pytest.fixture
def lora(base: ResidentBase) -> StackedLora:
    return StackedLora(base, rank=RANK, first_layer=FIRST_LAYER)


@pytest.fixture
def rows(base: ResidentBase) -> ChatRows:
    return ChatRows(base.tokenizer)
