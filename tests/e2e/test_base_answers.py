"""The answers that ship are those of the embedded base."""

from pathlib import Path

import pytest

from engram.settings import Settings
from worker.learner import BASE_ANSWER_TOKENS, open_learner
from worker.training.anchors import shipped_answers
from worker.training.generation import generate

pytestmark = pytest.mark.e2e

# One in so many is asked again. They were made in float32; where a machine computes in bfloat16, near-ties fall
# otherwise now and then.
_EVERY, _BEGINNING = 90, 6


def test_the_base_still_says_what_ships(base_model_path: Path) -> None:
    learner = open_learner(base_model_path, Settings())
    asked = dict(list(shipped_answers().items())[::_EVERY])
    ids = [learner.rows.prompt(prompt) for prompt in asked]
    said = generate(learner.base, learner.lora, None, ids, prefix=learner.rows.prefix, max_tokens=BASE_ANSWER_TOKENS)[0]
    alike = [list(now[:_BEGINNING]) == then[:_BEGINNING] for now, then in zip(said, asked.values(), strict=True)]
    assert sum(alike) >= 0.75 * len(alike)
