"""Compare the useful arithmetic rate of a training step with that of bare matrix products of the same shapes.

The products are those of the MLP, the largest of a layer: tokens x hidden x intermediate, in the same
dtype, on the same threads.
"""

import time
from collections.abc import Callable, Sequence

import torch
from torch.nn import functional

from evals.bench.arithmetic import Operations, Work, step_operations, trained_matrices, work_of
from evals.bench.exercise import draw_steps
from evals.bench.figures import Figure
from evals.bench.speedup import five_candidates, train_together
from evals.bench.workbench import Workbench

MATMUL_SECONDS = 2.0


def run(bench: Workbench, *, matmul_seconds: float = MATMUL_SECONDS) -> Figure:
    """Operations a second of our steps of five candidates over those of bare products, `bench.repeats` times."""
    exercise, lora = five_candidates(bench), bench.learner.lora
    works = [work_of(bench.learner.rows.prefix, step) for step in draw_steps(exercise)[1:]]  # the first warms up
    counted = [_operations(bench, work) for work in works]
    mean_operations = sum(each.total for each in counted) / len(counted)
    step_rates, matmul_rates = [], []
    for repeat in range(bench.repeats):
        matmul_rates.append(_matmul_rate(bench, works, seconds=matmul_seconds))
        trail = train_together(bench, exercise, lora.fresh(seed=bench.settings.seed))
        step_rates.append(mean_operations / trail.seconds_per_step)
        bench.say(
            f"matmul share: repeat {repeat + 1} of {bench.repeats}: "
            f"{step_rates[-1] / 1e9:.1f} of {matmul_rates[-1] / 1e9:.1f} GFLOP/s"
        )
    return Figure(
        [step / matmul for step, matmul in zip(step_rates, matmul_rates, strict=True)],
        {
            **bench.conditions,
            "step_gflop_per_s": [rate / 1e9 for rate in step_rates],
            "matmul_gflop_per_s": [rate / 1e9 for rate in matmul_rates],
            "gflop_per_step": mean_operations / 1e9,
            "gflop_of_last_step": {name: getattr(counted[-1], name) / 1e9 for name in Operations.__slots__},
            "tokens_per_step": [work.tokens for work in works],
        },
    )


def matmul_rate(
    tokens: int,
    hidden_size: int,
    intermediate_size: int,
    *,
    dtype: torch.dtype,
    device: torch.device,
    seconds: float,
    now: Callable[[], float] = time.perf_counter,
) -> float:
    """Floating-point operations a second of [tokens, hidden] x [hidden, intermediate] and the way back."""
    x_TD = torch.randn(tokens, hidden_size, device=device).to(dtype)
    up_FD = torch.randn(intermediate_size, hidden_size, device=device).to(dtype)
    down_DF = torch.randn(hidden_size, intermediate_size, device=device).to(dtype)

    def both_ways() -> None:
        functional.linear(functional.linear(x_TD, up_FD), down_DF)

    with torch.no_grad():
        for _ in range(3):
            both_ways()
        begun, count = now(), 0
        while (elapsed := now() - begun) < seconds or count == 0:
            both_ways()
            count += 1
    return count * 4 * tokens * hidden_size * intermediate_size / elapsed


def _matmul_rate(bench: Workbench, works: Sequence[Work], *, seconds: float) -> float:
    base = bench.learner.base
    config = base.model.config
    return matmul_rate(
        max(work.tokens for work in works),
        config.hidden_size,
        config.intermediate_size,
        dtype=base.dtype,
        device=base.device,
        seconds=seconds,
        now=bench.now,
    )


def _operations(bench: Workbench, work: Work) -> Operations:
    learner = bench.learner
    vocabulary_size, hidden_size = learner.base.model.lm_head.weight.shape
    return step_operations(
        trained_matrices(learner.shape.modules, first_layer=learner.lora.first_layer),
        work=work,
        rank=learner.lora.rank,
        hidden_size=hidden_size,
        vocabulary_size=vocabulary_size,
    )
