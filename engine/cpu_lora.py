"""Apply LoRA in vLLM's CPU build, adapter by adapter.

vLLM 0.32 gathers the weights of each token's adapter, one copy a token, and reads the index of a
request without adapter, -1, as the last slot: such a request, in one batch with others, is answered
with the adapter that lies there, another space's among them. Here a batch is split into the rows of
each adapter once a step; each group is two matrix products, and rows without adapter are not touched.
"""

from typing import Any

import torch
from vllm.lora.punica_wrapper.punica_cpu import PunicaWrapperCPU

Rows = torch.Tensor | slice  # row numbers of one adapter's tokens in the batch


class GroupedLora(PunicaWrapperCPU):  # type: ignore[misc]  # vLLM is not typed here
    """Stands in for vLLM's `PunicaWrapperCPU` where linear layers are concerned."""

    groups: tuple[tuple[int, Rows], ...] = ()  # (slot, its rows) of each adapter in the batch

    def update_metadata(self, *args: Any, **kwargs: Any) -> None:
        super().update_metadata(*args, **kwargs)
        self.groups = group(self.token_lora_indices)

    def add_lora_linear(  # noqa: PLR0917, vLLM passes them so
        self,
        y: torch.Tensor,
        x: torch.Tensor,
        lora_a_stacked: tuple[torch.Tensor, ...],
        lora_b_stacked: tuple[torch.Tensor, ...],
        scale: float,
        output_slices: tuple[int, ...],
        **kwargs: Any,
    ) -> None:
        """y[rows of a slot] += scale * x B_slot^T A_slot^T, in place.

        x [tokens, in], y [tokens, out]; for each slice of the output A [slots, 1, r, in] and B [slots, 1, slice, r].
        """
        x, y = x.view(-1, x.shape[-1]), y.view(-1, y.shape[-1])
        for slot, rows in self.groups:
            x_NI, start = x[rows], 0
            for a, b, width in zip(lora_a_stacked, lora_b_stacked, output_slices, strict=True):
                low_NR = x_NI @ a[slot, 0].T
                y[rows, start : start + width] += scale * (low_NR @ b[slot, 0].T)[:, :width]
                start += width


def group(slots_T: torch.Tensor) -> tuple[tuple[int, Rows], ...]:
    """The rows of each slot of 0 and above; a slice where one adapter answers the whole batch."""
    slots = sorted(set(slots_T.tolist()))
    if len(slots) == 1 and slots[0] >= 0:
        return ((slots[0], slice(None)),)
    return tuple((slot, (slots_T == slot).nonzero()[:, 0]) for slot in slots if slot >= 0)
