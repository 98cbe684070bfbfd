"""Hold the base model and its tokenizer in memory, once for the process."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from engram.artifacts import BaseShape
from engram.hardware import choose_device, choose_dtype, has_nvidia_gpu, read_cpu_flags
from engram.settings import Settings

LINEAR_LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@dataclass(frozen=True)
class ResidentBase:
    """The frozen base. `model` is a Hugging Face causal LM with `model.layers` (Llama, Qwen, Mistral, ...)."""

    model: Any
    tokenizer: Any
    path: str

    @property
    def device(self) -> torch.device:
        return torch.device(self.model.device)

    @property
    def dtype(self) -> torch.dtype:
        found: torch.dtype = self.model.dtype
        return found

    @property
    def decoder(self) -> Any:
        return self.model.model

    @property
    def num_layers(self) -> int:
        return len(self.decoder.layers)

    def linear_layers(self, first_layer: int = 0) -> dict[str, nn.Linear]:
        """The modules that may carry a LoRA, by full name, from layer `first_layer` up."""
        found = {}
        for index in range(first_layer, self.num_layers):
            for name, module in self.decoder.layers[index].named_modules():
                if name.rsplit(".", 1)[-1] in LINEAR_LAYERS:
                    found[f"model.layers.{index}.{name}"] = module
        return found

    @cached_property
    def _linear_shapes(self) -> dict[str, tuple[int, int]]:
        return {name: (layer.in_features, layer.out_features) for name, layer in self.linear_layers().items()}

    def shape(self, max_rank: int) -> BaseShape:
        """What an adapter must fit (`engram.artifacts.verify`)."""
        return BaseShape(self._linear_shapes, max_rank)


def load_base(path: str | Path, settings: Settings) -> ResidentBase:
    """Read the base from a folder or hub id, in the number format and on the device that fit this machine."""
    device = choose_device(settings.device, has_gpu=has_nvidia_gpu())
    dtype = getattr(torch, choose_dtype(settings.dtype, device=device, cpu_flags=read_cpu_flags()))
    if settings.trainer_threads:
        torch.set_num_threads(settings.trainer_threads)
    model = AutoModelForCausalLM.from_pretrained(path, dtype=dtype).to(device).eval()
    model.requires_grad_(False)
    return ResidentBase(model, AutoTokenizer.from_pretrained(path), str(path))


def shape_of(path: str | Path, *, max_rank: int) -> BaseShape:
    """What an adapter for the base at `path` must fit, without reading the base's weights."""
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(path))
    return ResidentBase(model, None, str(path)).shape(max_rank)
