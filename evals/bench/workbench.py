"""What the rows that run in this process share: the learner, another copy of its base, and the clock."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from engram.settings import Settings
from evals.bench.figures import Json
from worker.learner import Learner
from worker.opening import open_base
from worker.training.base import load_base

Say = Callable[[str], None]


@dataclass(frozen=True)
class Workbench:
    """`load_plain` gives a Hugging Face model of the learner's base, unwrapped, in the same dtype, on the same device.

    `timed_steps`: training steps that count in a sample of a step's seconds; one warm-up step comes before them.
    """

    learner: Learner
    settings: Settings
    load_plain: Callable[[], Any]
    say: Say
    repeats: int = 3
    timed_steps: int = 4

    def now(self) -> float:
        """Seconds on a steady clock, once everything sent to the device is done."""
        if self.learner.base.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    @property
    def conditions(self) -> Json:
        base = self.learner.base
        return {
            "base": base.path,
            "dtype": str(base.dtype).removeprefix("torch."),
            "device": str(base.device),
            "threads": torch.get_num_threads(),
            "warm_up_steps": 1,
            "timed_steps": self.timed_steps,
        }


def open_workbench(settings: Settings, *, repeats: int, timed_steps: int, say: Say) -> Workbench:
    """Load the base that Engram would serve and warm its learner up as the worker does."""
    base = open_base(settings)
    # PEFT would train it too. It costs a training step nothing: it lies below the activations that are kept.
    base.learner.lora.encoder = {}
    say("the base answers the anchor prompts (kept on disk once done)")
    base.learner.warm_up(lambda done, total: say(f"  {done} of {total} answered"))
    return Workbench(base.learner, settings, lambda: load_base(base.path, settings).model, say, repeats, timed_steps)
