"""Pack rows behind one prefix into a single sequence. Pure tensor work.

Every row repeats the system prompt, about half of all tokens. Packed, the prefix is computed
once: a row's tokens see the prefix and their own row's past, and nothing of other rows. The loss
is identical to separate rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from worker.training.rows import Ids, Row
from worker.training.tree_attention import Layout

_ROUND_TO = 16  # few distinct lengths: each new shape costs the CPU's matrix kernels time to prepare
_ROUND_ROWS_TO = 8


@dataclass(frozen=True, slots=True)
class Packed:
    """C sequences of T tokens. `answer_at` and `labels` list the N predicted positions, candidate by candidate.

    positions_CT: for the rotary embedding. answer_at: (candidate, token) index pairs, each [N];
    labels_N: the token to predict; group_N: the row's group number as given to `pack`.
    """

    ids_CT: torch.Tensor
    positions_CT: torch.Tensor
    layout: Layout
    answer_at: tuple[torch.Tensor, torch.Tensor]
    labels_N: torch.Tensor
    group_N: torch.Tensor


def pack(prefix: Ids, candidates: Sequence[Sequence[tuple[Row, int]]], device: torch.device) -> Packed:
    """Lay out each candidate's rows. Rows come with a group number, handed back per predicted token."""
    count, size = len(candidates), len(prefix)
    longest = max(size + sum(len(row.inputs) for row, _ in rows) for rows in candidates)
    width = _round_up(longest, _ROUND_TO)
    most = max(len(rows) for rows in candidates)
    longest_row = _round_up(max(len(row.inputs) for rows in candidates for row, _ in rows), _ROUND_ROWS_TO)
    ids = torch.zeros(count, width, dtype=torch.long)
    positions = torch.zeros(count, width, dtype=torch.long)
    rows_CRL = torch.zeros(count, most, longest_row, dtype=torch.long)
    back_CT = torch.zeros(count, width, dtype=torch.long)
    where: list[tuple[int, int]] = []
    labels: list[int] = []
    groups: list[int] = []
    for c, rows in enumerate(candidates):
        start = size
        ids[c, :size] = torch.tensor(prefix)
        positions[c, :size] = torch.arange(size)
        back_CT[c, :size] = torch.arange(c * size, (c + 1) * size)
        rows_CRL[c] = c * width
        for number, (row, group) in enumerate(rows):
            length = len(row.inputs)
            ids[c, start : start + length] = torch.tensor(row.inputs)
            positions[c, start : start + length] = torch.arange(size, size + length)
            rows_CRL[c, number] = c * width + start
            rows_CRL[c, number, :length] = torch.arange(c * width + start, c * width + start + length)
            first_place = count * size + (c * most + number) * longest_row
            back_CT[c, start : start + length] = torch.arange(first_place, first_place + length)
            first = start + len(row.prompt) - 1
            where += [(c, first + offset) for offset in range(len(row.answer))]
            labels += row.answer
            groups += [group] * len(row.answer)
            start += length
    at = torch.tensor(where, dtype=torch.long, device=device).reshape(-1, 2)
    return Packed(
        ids.to(device),
        positions.to(device),
        Layout(size, rows_CRL.to(device), back_CT.to(device)),
        (at[:, 0], at[:, 1]),
        torch.tensor(labels, device=device),
        torch.tensor(groups, device=device),
    )


def _round_up(size: int, step: int) -> int:
    return -(-size // step) * step
