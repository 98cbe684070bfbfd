"""Run packed rows through some of the base's layers."""

import torch

from worker.training.base import ResidentBase
from worker.training.packing import Packed
from worker.training.tree_attention import packed_as


def through_layers(base: ResidentBase, hidden_CTD: torch.Tensor, packed: Packed, first: int, last: int) -> torch.Tensor:
    """What leaves layer `last - 1` of what enters layer `first`, with the LoRA that is in use. [C, T, D]."""
    rotary = base.decoder.rotary_emb(hidden_CTD, position_ids=packed.positions_CT)
    with packed_as(packed.layout, config=base.decoder.config):
        for layer in base.decoder.layers[first:last]:
            hidden_CTD = layer(hidden_CTD, position_ids=packed.positions_CT, position_embeddings=rotary)
    return hidden_CTD
