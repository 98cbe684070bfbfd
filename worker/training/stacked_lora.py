"""LoRA adapters of several candidates in one model, as stacked tensors: one matrix product serves all.

Row c of a batch that is a multiple of C belongs to candidate c's share of it, candidate by
candidate. The frozen base weights are read once for all candidates.
"""

import copy
import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from peft import LoraConfig
from safetensors.torch import load_file, save_file
from torch import nn

from engram.artifacts import CONFIG, WEIGHTS
from worker.training.base import LINEAR_LAYERS, ResidentBase

_LAYER = re.compile(r"\.layers\.(\d+)\.")

Weights = dict[str, torch.Tensor]  # "<module>.A" [C, r, in] and "<module>.B" [C, out, r], float32


class StackedLoraLinear(nn.Module):
    """y = W x + scale * B_c A_c x. With no weights set it is the base layer alone."""

    def __init__(self, base: nn.Linear, scale: float) -> None:
        super().__init__()
        self.base = base
        self.in_features, self.out_features = base.in_features, base.out_features
        self.scale = scale
        self.A: torch.Tensor | None = None  # [C, r, in]
        self.B: torch.Tensor | None = None  # [C, out, r]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.base(x)
        if self.A is None or self.B is None:
            return y
        count = self.A.shape[0]
        x_CNI = x.reshape(count, -1, x.shape[-1])
        low_CNR = torch.bmm(x_CNI, self.A.to(x.dtype).transpose(1, 2))
        # One fused product and sum: a pass over the wide output less.
        y_CNO = y.view(count, -1, y.shape[-1])
        return torch.baddbmm(y_CNO, low_CNR, self.B.to(x.dtype).transpose(1, 2), alpha=self.scale).view_as(y)


class StackedLora:
    """Wraps the base's linear layers in place and sets which candidates' weights they use.

    What it trains are the layers from `first_layer` up; an adapter that was trained otherwise can be used all the same.
    `encoder`: what every new candidate carries on the layers below, unchanged (`worker.encoder`); empty until set.
    """

    def __init__(self, base: ResidentBase, *, rank: int, first_layer: int) -> None:
        self.base = base
        self.rank = rank
        self.first_layer = first_layer
        self.scale = 2.0  # alpha = 2 r
        self.trained = tuple(base.linear_layers(first_layer))
        self.modules = {name: self._wrap(name, layer) for name, layer in base.linear_layers().items()}
        self.encoder: Weights = {}

    def fresh(self, *, seed: int) -> Weights:
        """One untrained candidate: it answers as the base does, or as the base reads through the encoder."""
        return {**self.encoder, **self._untrained(seed=seed)}

    def is_trained(self, key: str) -> bool:
        """Whether training may change this tensor of a candidate."""
        return key.rpartition(".")[0] in self.trained

    def training(self, names: Iterable[str], *, rank: int, first_layer: int) -> "StackedLora":
        """The same wrapped base, of which these modules are trained, without an encoder. Wraps nothing again."""
        other = copy.copy(self)
        other.rank, other.first_layer, other.encoder, other.trained = rank, first_layer, {}, tuple(names)
        return other

    def below(self, layer: int, *, rank: int) -> "StackedLora":
        """The same wrapped base, of which the layers below `layer` are trained."""
        upper = self.base.linear_layers(layer)
        return self.training((name for name in self.modules if name not in upper), rank=rank, first_layer=0)

    def _untrained(self, *, seed: int) -> Weights:
        """A as PEFT initialises it, B zero."""
        generator = torch.Generator().manual_seed(seed)
        weights = {}
        for name in self.trained:
            module = self.modules[name]
            bound = 1 / math.sqrt(module.base.in_features)  # kaiming_uniform with a = sqrt(5)
            a = torch.rand(1, self.rank, module.base.in_features, generator=generator) * 2 * bound - bound
            weights[f"{name}.A"] = a.to(self.base.device)
            weights[f"{name}.B"] = torch.zeros(1, module.base.out_features, self.rank, device=self.base.device)
        return weights

    def weakened(self, weights: Weights, strength: float) -> Weights:
        """So much of what was trained, 0 to 1: weights between the base's and theirs. The encoder stays whole."""
        return {
            name: value * strength if name.endswith(".B") and self.is_trained(name) else value
            for name, value in weights.items()
        }

    @contextmanager
    def use(self, weights: Mapping[str, torch.Tensor] | None) -> Iterator[None]:
        """Run with these weights inside the block; None runs the bare base."""
        for name, module in self.modules.items():
            module.A = weights.get(f"{name}.A") if weights else None
            module.B = weights.get(f"{name}.B") if weights else None
        try:
            yield
        finally:
            for module in self.modules.values():
                module.A = module.B = None

    def save(self, weights: Weights, candidate: int, folder: Path) -> None:
        """Write candidate number `candidate` as a plain PEFT folder, in the format the base is served in."""
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {
            f"base_model.model.{key[:-2]}.lora_{key[-1]}.weight": value[candidate].to(self.base.dtype).contiguous()
            for key, value in weights.items()
        }
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
        layers = {int(match[1]) for key in weights if (match := _LAYER.search(key))}
        config = LoraConfig(
            r=self.rank,
            lora_alpha=int(self.rank * self.scale),
            target_modules=sorted(LINEAR_LAYERS),
            layers_to_transform=sorted(layers),
            layers_pattern="layers",
            task_type="CAUSAL_LM",
            base_model_name_or_path=Path(self.base.path).name,
            inference_mode=True,
        )
        fields = {key: sorted(v) if isinstance(v, set) else v for key, v in config.to_dict().items()}
        (folder / CONFIG).write_text(json.dumps(fields, indent=2, default=str) + "\n")

    def load(self, folder: Path) -> Weights:
        """Read a PEFT folder as one candidate. Modules that it lacks stay as the base has them."""
        return {**self._untrained(seed=0), **self.read(folder)}

    def read(self, folder: Path) -> Weights:
        """What a PEFT folder holds, as one candidate's tensors."""
        weights = {}
        for key, value in load_file(folder / WEIGHTS).items():
            module, half = key.removeprefix("base_model.model.").removesuffix(".weight").rsplit(".lora_", 1)
            weights[f"{module}.{half}"] = value.float()[None].to(self.base.device)
        return weights

    def _wrap(self, name: str, layer: nn.Linear) -> StackedLoraLinear:
        parent = self.base.model.get_submodule(name.rsplit(".", 1)[0])
        wrapped = StackedLoraLinear(layer, self.scale)
        setattr(parent, name.rsplit(".", 1)[1], wrapped)
        return wrapped


def repeat(weights: Weights, count: int) -> Weights:
    """`count` equal candidates from one."""
    return {name: value.repeat(count, 1, 1) for name, value in weights.items()}


def select(weights: Weights, candidates: Sequence[int]) -> Weights:
    """Some of the candidates."""
    return {name: value[list(candidates)] for name, value in weights.items()}


def stack(*groups: Weights) -> Weights:
    """All candidates of several groups, in order. A tensor that a group lacks is zero there: the base's module."""
    names = dict.fromkeys(name for group in groups for name in group)
    shapes = {name: group[name].shape[1:] for group in groups for name in group}
    return {name: torch.cat([_tensor(group, name, shapes[name]) for group in groups]) for name in names}


def _tensor(group: Weights, name: str, shape: torch.Size) -> torch.Tensor:
    if name in group:
        return group[name]
    other = next(iter(group.values()))
    return torch.zeros(other.shape[0], *shape, device=other.device)
