"""Candidates that need no training: broken weights, and files that the check of files finds."""

import random
from pathlib import Path

import pytest
import torch

from engram.artifacts import verify
from engram.errors import AdapterRejected
from evals.gate import broken
from tests.fakes.base import trained_looking
from worker.learner import Learner
from worker.training.stacked_lora import Weights


@pytest.fixture
def trained(learner: Learner) -> Weights:
    return trained_looking(learner.lora, seed=1)


@pytest.fixture
def folder(learner: Learner, trained: Weights, tmp_path: Path) -> Path:
    """The files of a sound candidate."""
    learner.lora.save(trained, 0, tmp_path / "adapter")
    verify(tmp_path / "adapter", shape=learner.shape)
    return tmp_path / "adapter"


@pytest.mark.parametrize("number", range(3))
def test_one_number_is_not_finite_and_the_files_show_it(
    learner: Learner, trained: Weights, number: int, tmp_path: Path
) -> None:
    made = broken.nan_in_weights(trained, trained, trained, number, random.Random(number))
    assert sum(int((~weight.isfinite()).sum()) for weight in made.weights.values()) == 1
    assert all(bool(weight.isfinite().all()) for weight in trained.values())
    learner.lora.save(made.weights, 0, tmp_path)
    with pytest.raises(AdapterRejected, match="NaN or infinite"):
        verify(tmp_path, shape=learner.shape)


def test_untrained_is_the_live_version_or_the_base(learner: Learner, trained: Weights) -> None:
    live, fresh = trained_looking(learner.lora, seed=2), learner.lora.fresh(seed=0)
    again, base = (broken.untrained(live, trained, fresh, number, random.Random(0)) for number in (0, 1))
    assert all(torch.equal(again.weights[name], live[name]) for name in live)
    assert all(torch.equal(base.weights[name], fresh[name]) for name in fresh)


@pytest.mark.parametrize("number", range(5))
def test_truncated_file_is_found(learner: Learner, folder: Path, number: int) -> None:
    size = sum(path.stat().st_size for path in folder.iterdir())
    broken.truncated_file(folder, number, random.Random(number))
    assert sum(path.stat().st_size for path in folder.iterdir()) < size
    with pytest.raises(AdapterRejected):
        verify(folder, shape=learner.shape)


def test_files_are_truncated_in_five_ways(folder: Path) -> None:
    whole = {path: path.read_bytes() for path in folder.iterdir()}
    variants = set()
    for number in range(5):
        for path, content in whole.items():
            path.write_bytes(content)
        variants.add(broken.truncated_file(folder, number, random.Random(number)))
    assert len(variants) == 5


@pytest.mark.parametrize(
    ("number", "variant", "reason"),
    [(0, "wider", "shape"), (1, "deeper", "no module"), (2, "more key heads", "shape")],
)
def test_adapter_of_another_base_is_found(
    learner: Learner, folder: Path, number: int, variant: str, reason: str
) -> None:
    assert broken.wrong_base(folder, number, random.Random(0)) == variant
    with pytest.raises(AdapterRejected, match=reason):
        verify(folder, shape=learner.shape)
