"""Rows 1 to 3 on the tiny base: what is compared does the same work. Times are never asserted."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch

from evals.bench import growth, matmul_share, speedup
from evals.bench.exercise import StepRows, draw_steps
from evals.bench.figures import Figure
from evals.bench.plain_peft import train_plainly
from evals.bench.workbench import Workbench
from tests.fakes.base import tiny_base
from worker.training.packing import Packed, pack
from worker.training.rows import Ids, Row
from worker.training.trainer import ANCHOR, NOTE, Progress


def _assert_ratios(figure: Figure, *, count: int) -> None:
    assert len(figure.samples) == count
    assert all(math.isfinite(sample) and sample > 0 for sample in figure.samples)


def test_both_trainers_train_on_the_same_rows(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    ours: list[list[StepRows]] = []
    theirs: list[tuple[list[StepRows], float]] = []

    def watched_pack(prefix: Ids, candidates: list[list[tuple[Row, int]]], device: torch.device) -> Packed:
        of = lambda group: [tuple(row for row, its in own if its == group) for own in candidates]  # noqa: E731
        ours.append([StepRows(*pair) for pair in zip(of(NOTE), of(ANCHOR), strict=True)])
        return pack(prefix, candidates, device)

    def watched_peft(model: Any, adapter: Path, steps: list[StepRows], **rest: Any) -> Any:
        theirs.append((steps, rest["learning_rate"]))
        return train_plainly(model, adapter, steps, **rest)

    monkeypatch.setattr("worker.training.trainer.pack", watched_pack)
    monkeypatch.setattr("evals.bench.speedup.train_plainly", watched_peft)
    figure = speedup.run(replace(bench, repeats=1))
    _assert_ratios(figure, count=1)
    trained = [step for step in ours if len(step) == 5]  # packs of one candidate only compute activations to keep
    assert len(trained) == 1 + bench.timed_steps
    assert [steps for steps, _ in theirs] == [[step[candidate] for step in trained] for candidate in range(5)]
    assert all(step.anchored and len(step.learned) > bench.settings.rehearsal_notes_per_step for step in trained[0])
    rate = bench.settings.learning_rate
    assert [rate for _, rate in theirs] == pytest.approx([rate, rate, 0.75 * rate, rate, 0.5 * rate])
