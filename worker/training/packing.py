"""Pack rows behind one prefix into a single sequence with a tree attention mask. Pure tensor work.

Every row repeats the system prompt, about half of all tokens. Packed, the prefix is computed
once: a row's tokens see the prefix and their own row's past, and nothing of other rows. The loss
is identical to separate rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from worker.training.rows import Ids, Row

_ROUND_TO = 64  # few distinct lengths: each new shape costs the CPU's matrix kernels time to prepare


@dataclass(frozen=True, slots=True)
class Packed:
    """C sequences of T tokens. `answer_at` and `labels` list the N predicted positions, candidate by candidate.

    positions_CT, mask_C1TT: for the decoder layers. answer_at: (candidate, token) index pairs, each
    [N]; labels_N: the token to predict; group_N: the row's group number as given to `pack`.
    """

    ids_CT: torch.Tensor
    positions_CT: torch.Tensor
    mask_C1TT: torch.Tensor
    answer_at: tuple[torch.Tensor, torch.Tensor]
    labels_N: torch.Tensor
    group_N: torch.Tensor


def pack(prefix: Ids, candidates: Sequence[Sequence[tuple[Row, int]]]) -> Packed:
    """Lay out each candidate's rows. Rows come with a group number, handed back per predicted token."""
    longest = max(len(prefix) + sum(len(row.inputs) for row, _ in rows) for rows in candidates)
    width = -(-longest // _ROUND_TO) * _ROUND_TO
    count = len(candidates)
    ids = torch.zeros(count, width, dtype=torch.long)
    positions = torch.zeros(count, width, dtype=torch.long)
    branch = torch.full((count, width), -1, dtype=torch.long)  # -1: padding, 0: prefix, 1...: rows
    where: list[tuple[int, int]] = []
    labels: list[int] = []
    groups: list[int] = []
    for c, rows in enumerate(candidates):
        start = len(prefix)
        ids[c, :start] = torch.tensor(prefix)
        positions[c, :start] = torch.arange(start)
        branch[c, :start] = 0
        for number, (row, group) in enumerate(rows, start=1):
            end = start + len(row.inputs)
            ids[c, start:end] = torch.tensor(row.inputs)
            positions[c, start:end] = torch.arange(len(prefix), len(prefix) + end - start)
            branch[c, start:end] = number
            first = start + len(row.prompt) - 1
            where += [(c, first + offset) for offset in range(len(row.answer))]
            labels += row.answer
            groups += [group] * len(row.answer)
            start = end
    at = torch.tensor(where, dtype=torch.long).reshape(-1, 2)
    return Packed(ids, positions, _tree_mask(branch), (at[:, 0], at[:, 1]), torch.tensor(labels), torch.tensor(groups))


def _tree_mask(branch_CT: torch.Tensor) -> torch.Tensor:
    """[C, 1, T, T] booleans: a token sees earlier tokens of its own row and of the prefix; padding sees itself."""
    width = branch_CT.shape[1]
    query, key = branch_CT[:, :, None], branch_CT[:, None, :]
    causal = torch.ones(width, width, dtype=torch.bool).tril()
    visible = ((query == key) | (key == 0)) & causal & (key >= 0)
    return (visible | torch.eye(width, dtype=torch.bool))[:, None]
