"""The rows measured in this process, on the tiny base: both sides do the same work. Times are never asserted."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from evals.bench import matmul_share, speedup
from evals.bench.exercise import FIVE_STRATEGIES, StepRows
from evals.bench.figures import Figure
from evals.bench.plain_peft import train_plainly
from evals.bench.workbench import Workbench
from worker.training.packing import Packed, pack
from worker.training.rows import Ids, Row
from worker.training.steps import ANCHOR, NOTE, REHEARSED


def _assert_ratios(figure: Figure, *, count: int) -> None:
    assert len(figure.samples) == count
    assert all(math.isfinite(sample) and sample > 0 for sample in figure.samples)


def _of_group(candidates: list[list[tuple[Row, int]]], *groups: int) -> list[tuple[Row, ...]]:
    return [tuple(row for row, its in own if its in groups) for own in candidates]


def test_both_trainers_train_on_the_same_rows(bench: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    ours: list[list[StepRows]] = []
    theirs: list[tuple[list[StepRows], float]] = []

    def watched_pack(prefix: Ids, candidates: list[list[tuple[Row, int]]], device: torch.device) -> Packed:
        pairs = zip(_of_group(candidates, NOTE, REHEARSED), _of_group(candidates, ANCHOR), strict=True)
        ours.append([StepRows(learned, anchored) for learned, anchored in pairs])
        return pack(prefix, candidates, device)

    def watched_peft(model: Any, adapter: Path, steps: list[StepRows], **rest: Any) -> Any:
        theirs.append((steps, rest["learning_rate"]))
        return train_plainly(model, adapter, steps, **rest)

    monkeypatch.setattr("worker.training.trainer.pack", watched_pack)
    monkeypatch.setattr("evals.bench.speedup.train_plainly", watched_peft)
    figure = speedup.run(replace(bench, repeats=1))

    _assert_ratios(figure, count=1)
    assert figure.details["largest_note_loss_difference_nats"][0] < 1e-4
    trained = [step for step in ours if len(step) == 5]  # packs of one candidate only compute activations to keep
    assert len(trained) == 1 + bench.timed_steps
    counted = theirs[-5:]  # those before tried out the ways
    assert [steps for steps, _ in counted] == [[step[candidate] for step in trained] for candidate in range(5)]
    assert all(step.anchored and len(step.learned) > bench.settings.rehearsal_notes_per_step for step in trained[0])
    factors = [strategy.learning_rate_factor for strategy in FIVE_STRATEGIES]
    assert [rate / bench.settings.learning_rate for _, rate in counted] == pytest.approx(factors)


def test_sides_take_turns_and_progress_is_told(bench: Workbench, said: list[str]) -> None:
    figure = speedup.run(replace(bench, timed_steps=1))
    _assert_ratios(figure, count=2)
    own = [index for index, line in enumerate(said) if line.startswith("  ours")]
    repeats = [index for index, line in enumerate(said) if line.startswith("speedup: repeat")]
    assert own == [repeats[0] + 1, len(said) - 1]
    assert torch.get_num_threads() == 1  # the Hugging Face Trainer leaves them as they were


def test_share_of_the_matmul_rate_is_a_ratio(bench: Workbench) -> None:
    figure = matmul_share.run(bench, matmul_seconds=0.01)
    _assert_ratios(figure, count=2)
    assert len(figure.details["tokens_per_step"]) == bench.timed_steps
