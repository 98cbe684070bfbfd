"""Bad candidates that need no training: weights that are broken or untaught, and files that are damaged. Seeded."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from engram.artifacts import CONFIG, WEIGHTS
from worker.training.stacked_lora import Weights

_NUMBERS = (float("nan"), float("inf"), float("-inf"))
_LAYER = re.compile(r"(?<=\.layers\.)\d+(?=\.)")


@dataclass(frozen=True, slots=True)
class Spoiled:
    """One candidate's weights, or what was done to its files."""

    variant: str
    weights: Weights


WeightMaker = Callable[[Weights, Weights, Weights, int, random.Random], Spoiled]
FileMaker = Callable[[Path, int, random.Random], str]


def nan_in_weights(live: Weights, trained: Weights, fresh: Weights, number: int, rng: random.Random) -> Spoiled:
    """One number of one matrix of a trained candidate is NaN or infinite."""
    value = _NUMBERS[number % len(_NUMBERS)]
    weights = {name: weight.clone() for name, weight in trained.items()}
    spoiled = weights[rng.choice(sorted(weights))].view(-1)
    spoiled[rng.randrange(len(spoiled))] = value
    return Spoiled(str(value), weights)


def untrained(live: Weights, trained: Weights, fresh: Weights, number: int, rng: random.Random) -> Spoiled:
    """Nothing learned: the live version once more (by turns: an untrained adapter, which equals the base)."""
    return Spoiled("live again", live) if number % 2 == 0 else Spoiled("equals the base", fresh)


WEIGHTS_SPOILED: dict[str, WeightMaker] = {"NaN in weights": nan_in_weights, "untrained": untrained}


def truncated_file(folder: Path, number: int, rng: random.Random) -> str:
    """The weights' file ends in its data, before its last byte, in its header or at once; or the config's does."""
    size = (folder / WEIGHTS).stat().st_size
    cuts = {
        "weights cut": (WEIGHTS, rng.randrange(size // 4, size)),
        "last byte missing": (WEIGHTS, size - 1),
        "header cut": (WEIGHTS, rng.randrange(1, 200)),
        "config cut": (CONFIG, (folder / CONFIG).stat().st_size // 2),
        "weights empty": (WEIGHTS, 0),
    }
    variant = list(cuts)[number % len(cuts)]
    name, kept = cuts[variant]
    (folder / name).write_bytes((folder / name).read_bytes()[:kept])
    return variant


def wrong_base(folder: Path, number: int, rng: random.Random) -> str:
    """The files fit another base: a wider one, a deeper one, or one whose attention has more heads for keys."""
    tensors = load_file(folder / WEIGHTS)
    variant = ("wider", "deeper", "more key heads")[number % 3]
    if variant == "deeper":
        changed = _moved_up(tensors)
    else:
        wide = (".weight",) if variant == "wider" else ("k_proj.lora_B.weight", "v_proj.lora_B.weight")
        changed = {name: _padded(name, x) if name.endswith(wide) else x for name, x in tensors.items()}
    save_file(changed, folder / WEIGHTS, metadata={"format": "pt"})
    return variant


FILES_SPOILED: dict[str, FileMaker] = {"truncated file": truncated_file, "wrong base": wrong_base}


def _padded(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """A wider by its input [r, in + in / 2], B by its output [out + out / 2, r]."""
    dim = 1 if ".lora_A." in name else 0
    return torch.cat([tensor, tensor.narrow(dim, 0, tensor.shape[dim] // 2)], dim).contiguous()


def _moved_up(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same shapes, in layers above the base's last one."""
    layers = {int(found[0]) for name in tensors if (found := _LAYER.search(name))}
    return {
        _LAYER.sub(lambda found: str(int(found[0]) + max(layers) + 1), name): tensor for name, tensor in tensors.items()
    }
