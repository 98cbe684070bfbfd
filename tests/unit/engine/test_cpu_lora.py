"""The plugin's LoRA equals the plain formula, row by row, and leaves rows without adapter alone."""

import pytest
import torch

cpu_lora = pytest.importorskip("engine.cpu_lora", reason="only vLLM's CPU build has the class it replaces")

IN, RANK, WIDTHS, NUM_SLOTS = 8, 2, (6, 3, 3), 4


@pytest.mark.parametrize(
    "slots",
    [[0, 0, 0], [3], [-1, -1], [2, -1, 2, 0, -1], [-1, 1], [3, 3, -1]],
    ids=["one adapter", "one token", "base alone", "mixed", "base first", "last slot and base"],
)
def test_each_row_gets_its_own_adapter_or_none(slots: list[int]) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(len(slots), IN), torch.randn(len(slots), sum(WIDTHS))
    a = tuple(torch.randn(NUM_SLOTS, 1, RANK, IN) for _ in WIDTHS)
    b = tuple(torch.randn(NUM_SLOTS, 1, width, RANK) for width in WIDTHS)
    expected = y.clone()
    for row, slot in enumerate(slots):
        if slot >= 0:
            expected[row] += 0.5 * torch.cat([x[row] @ A[slot, 0].T @ B[slot, 0].T for A, B in zip(a, b, strict=True)])
    wrapper = object.__new__(cpu_lora.GroupedLora)
    wrapper.groups = cpu_lora.group(torch.tensor(slots))
    wrapper.add_lora_linear(y, x, a, b, 0.5, WIDTHS)
    torch.testing.assert_close(y, expected)


def test_vllm_takes_the_plugin_for_its_cpu_platform() -> None:
    from vllm.platforms.cpu import CpuPlatform

    import engine

    engine.register()
    assert CpuPlatform.get_punica_wrapper() == "engine.cpu_lora.GroupedLora"
