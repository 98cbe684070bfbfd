"""The real vLLM keeps to the contract that the fake engine is written to."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.contract.engine_contract import EngineContract

RANK = 4


@pytest.mark.e2e
class TestRealEngine(EngineContract):
    @pytest.fixture
    def engine_url(self, real_engine_url: str) -> str:
        return real_engine_url

    @pytest.fixture
    def adapter(self, base_model_path: Path, tmp_path: Path) -> Path:
        """A LoRA on one module of the base that changes nothing."""
        width = json.loads((base_model_path / "config.json").read_text())["hidden_size"]
        name = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"
        weights = {
            name.format("A"): np.ones((RANK, width), dtype="float32"),
            name.format("B"): np.zeros((width, RANK), dtype="float32"),
        }
        save_file(weights, tmp_path / "adapter_model.safetensors")
        config = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["q_proj"], "bias": "none"}
        (tmp_path / "adapter_config.json").write_text(json.dumps(config))
        return tmp_path
