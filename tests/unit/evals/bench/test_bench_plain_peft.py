"""Plain PEFT does the same work as Engram's trainer: the same losses, step by step, from the same weights."""

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from evals.bench.exercise import StepRows, draw_steps, exercise_of
from evals.bench.ledger import studied_facts
from evals.bench.plain_peft import IGNORED, Way, collate, examples_of, train_plainly, ways_for
from evals.bench.speedup import train_together
from evals.bench.workbench import Workbench
from tests.fakes.base import tiny_base, trained_looking
from worker.self_edits import STRATEGIES
from worker.training.rows import ChatRows, Row
from worker.training.stacked_lora import StackedLora
from worker.training.steps import TrainingPlan

PREFIX = (90, 91)
NOTE, ANCHOR = Row((1, 2), (3, 4)), Row((5,), (6, 7, 8))


def test_batch_is_padded_to_its_longest_row_and_only_answers_of_notes_are_labelled() -> None:
    batch = collate(examples_of(PREFIX, StepRows((NOTE,), (ANCHOR,))))
    no = IGNORED
    assert batch["input_ids"].tolist() == [[90, 91, 1, 2, 3, 4], [90, 91, 5, 6, 7, 8]]
    assert batch["labels"].tolist() == [[no, no, no, no, 3, 4], [no] * 6]
    assert batch["anchored"].tolist() == [[False] * 6, [False] * 3 + [True] * 3]
    padded = collate(examples_of(PREFIX, StepRows((NOTE, Row((1,), (2,))), ())))
    assert padded["attention_mask"].tolist() == [[1] * 6, [1] * 4 + [0] * 2]
    assert padded["labels"].tolist()[1] == [no, no, no, 2, no, no]


@pytest.mark.parametrize("way", ways_for(torch.float32), ids=str)
def test_losses_of_both_are_the_same_at_every_step(bench: Workbench, tmp_path: Path, way: Way) -> None:
    learner = bench.learner
    new, *ledger = studied_facts()[:4]
    exercise = exercise_of(learner, bench.settings, new, ledger, strategies=STRATEGIES[:1])
    faster = replace(exercise.candidates[0], learning_rate=1e-2)
    exercise = replace(exercise, candidates=(faster,), plan=replace(exercise.plan, steps=4, shared_steps=0))
    initial = trained_looking(learner.lora, seed=1, strength=0.02)
    learner.lora.save(initial, 0, tmp_path)
    ours = train_together(bench, exercise, initial)
    model = bench.load_plain()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    theirs = train_plainly(
        model,
        tmp_path,
        [step[0] for step in draw_steps(exercise)],
        way=way,
        prefix=learner.rows.prefix,
        plan=exercise.plan,
        learning_rate=faster.learning_rate,
        now=bench.now,
    )
    torch.testing.assert_close(torch.tensor(ours.note_loss), torch.tensor(theirs.note_loss), rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(torch.tensor(ours.anchor_kl), torch.tensor(theirs.anchor_kl), rtol=1e-3, atol=1e-4)
    assert ours.note_loss[-1] < ours.note_loss[0]
    assert len(ours.ends_s) == len(theirs.ends_s) == 4
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())


@pytest.mark.parametrize("way", ways_for(torch.bfloat16), ids=str)
def test_every_way_trains_over_a_bfloat16_base(tmp_path: Path, way: Way) -> None:
    base = tiny_base(dtype=torch.bfloat16)
    model = tiny_base(dtype=torch.bfloat16).model
    lora, rows = StackedLora(base, rank=4, first_layer=1), ChatRows(base.tokenizer)
    lora.save(trained_looking(lora, seed=1), 0, tmp_path)
    step = StepRows((rows.row("Where do I live?", "In Bergen."),), (rows.row("Hello!", "Hi, how can I help?"),))
    trail = train_plainly(
        model,
        tmp_path,
        [step, step],
        way=way,
        prefix=rows.prefix,
        plan=TrainingPlan(steps=2),
        learning_rate=1e-2,
        now=time.perf_counter,
    )
    assert all(math.isfinite(loss) for losses in (*trail.note_loss, *trail.anchor_kl) for loss in losses)
    assert trail.note_loss[1] < trail.note_loss[0]


def test_autocast_is_tried_over_a_bfloat16_base_only() -> None:
    assert [way.autocast for way in ways_for(torch.float32)] == [False, False]
    assert len(ways_for(torch.bfloat16)) == 4
