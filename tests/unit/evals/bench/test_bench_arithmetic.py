"""Operations of a training step, against a computation by hand and against what torch counts."""

from dataclasses import replace

import pytest
from torch.utils.flop_counter import FlopCounterMode

from evals.bench.arithmetic import Matrix, Work, step_operations, trained_matrices, work_of
from evals.bench.exercise import StepRows
from evals.bench.trail import Trail, largest_difference
from worker.learner import Learner
from worker.training.rows import Row
from worker.training.steps import CandidateRows, TrainingPlan

RANK = 4
FIRST_LAYER = 1
# The tiny base: 4 layers, of which 3 are trained; hidden 64, keys and values 32, intermediate 96.
QUERY = OUTPUT = 64 * 64
KEY = VALUE = 64 * 32
GATE = UP = DOWN = 64 * 96
LAYER = QUERY + KEY + VALUE + OUTPUT + GATE + UP + DOWN
# (in + out), summed over all seven
LORA_WIDTHS = (64 + 64) * 2 + (64 + 32) * 2 + (64 + 96) * 3

WORK = Work(candidates=2, tokens=50, note_answers=9, anchor_answers=4)


def test_tiny_model_by_hand(learner: Learner) -> None:
    matrices = trained_matrices(learner.shape.modules, first_layer=FIRST_LAYER)
    counted = step_operations(matrices, work=WORK, rank=RANK, hidden_size=64, vocabulary_size=500)
    assert len(matrices) == 3 * 7
    assert counted.frozen_forward == 2 * 50 * 3 * LAYER
    assert counted.frozen_backward == 2 * 50 * (3 * LAYER - (QUERY + KEY + VALUE))
    # Forward, weight gradients and gradients back: three times both products, but for the lowest q, k and v.
    assert counted.lora == 3 * (2 * 50 * RANK * 3 * LORA_WIDTHS) - 2 * 50 * RANK * 3 * 64
    # Notes: logits and gradient. Anchors: both for each of two candidates, and the base's logits once.
    assert counted.head == 2 * 64 * 500 * (9 * 2 + 4 * (2 * 2 + 1))
    assert counted.total == sum([counted.frozen_forward, counted.frozen_backward, counted.lora, counted.head])


def test_only_real_tokens_of_packed_rows_count() -> None:
    note, other, anchor = Row((1, 2, 3), (4, 5)), Row((1,), (2,)), Row((7, 8), (9, 9, 9))
    step = [StepRows((note, other), (anchor,)), StepRows((note,), (anchor,))]
    # A row is read without its last answer token: 4, 1 and 4 tokens.
    assert work_of((0,) * 10, step) == Work(candidates=2, tokens=2 * 10 + 9 + 8, note_answers=5, anchor_answers=3)


def test_layers_below_the_first_trained_one_do_not_count() -> None:
    shapes = {f"model.layers.{n}.mlp.up_proj": (8, 16) for n in range(3)} | {"model.layers.2.self_attn.q_proj": (8, 8)}
    assert trained_matrices(shapes, first_layer=2) == [Matrix(8, 16), Matrix(8, 8, passes_gradient=False)]


def test_torch_counts_the_same_for_a_step_as_padded(learner: Learner) -> None:
    """Torch counts `mm`: frozen layers and output matrix. `bmm` and `baddbmm`: LoRA, and attention besides."""
    rows = [learner.rows.row(f"What is my number {n}?", f"Your number is {n}.") for n in range(6)]
    trainer, anchors = learner.trainer, learner.anchors(frozenset()).general[:4]
    trainer.prepare([*rows, *anchors])
    fresh, plan = learner.lora.fresh(seed=0), TrainingPlan(steps=1, notes_per_step=6)
    with FlopCounterMode(display=False) as counter:
        trainer.train(fresh, [CandidateRows(rows, 1e-3)] * 2, plan=plan, anchors=[(anchors, 4)])
    by_kind = {str(kind): count for kind, count in counter.get_flop_counts()["Global"].items()}
    work = work_of(learner.rows.prefix, [StepRows(tuple(rows), tuple(anchors))] * 2)
    vocabulary_size, hidden_size = learner.base.model.lm_head.weight.shape
    counted = step_operations(
        trained_matrices(learner.shape.modules, first_layer=FIRST_LAYER),
        work=replace(work, tokens=2 * 16 * -(-work.tokens // 32)),
        rank=RANK,
        hidden_size=hidden_size,
        vocabulary_size=vocabulary_size,
    )
    assert counted.frozen_forward + counted.frozen_backward + counted.head == by_kind["aten.mm"]
    assert 0 < counted.lora < by_kind["aten.bmm"] + by_kind["aten.baddbmm"]


def test_first_step_is_no_part_of_the_seconds_of_a_step() -> None:
    trail = Trail(begun_s=10.0, ends_s=[15.0, 16.0, 18.0])
    assert trail.seconds_per_step == pytest.approx(1.5)
    assert trail.seconds_to_first_step == pytest.approx(5.0)


def test_difference_of_losses_is_the_largest_over_steps_and_candidates() -> None:
    together = Trail(0.0, note_loss=[[1.0, 2.0], [0.5, 1.5]])
    apart = [Trail(0.0, note_loss=[[1.0], [0.4]]), Trail(0.0, note_loss=[[2.0], [1.75]])]
    assert largest_difference(together, apart) == pytest.approx(0.25)
