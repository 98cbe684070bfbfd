"""The real vLLM keeps to the contract that the fake engine is written to."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engram.settings import Settings
from engram.vllm_client import open_engines
from tests.contract.engine_contract import EngineContract

RANK = 4
NUM_ADAPTERS = 20  # more than the engine has slots (ENGRAM_MAX_LOADED_ADAPTERS)


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


@pytest.mark.e2e
def test_base_is_itself_in_one_batch_with_many_adapters(
    real_engine_url: str, base_model_path: Path, tmp_path: Path
) -> None:
    """vLLM's own CPU code gives the bare base the last slot's adapter; more adapters than slots fill every slot."""
    (engine,) = open_engines(Settings(engine_urls=real_engine_url))
    question = [{"role": "user", "content": "What is the name of my dog?"}]
    alone = engine.chat(question, model="base", max_tokens=12)
    names = [f"loud-{number}" for number in range(NUM_ADAPTERS)]
    for number, name in enumerate(names):
        _save_loud_adapter(base_model_path, tmp_path / name, seed=number)
        engine.load(name, str(tmp_path / name))
    with ThreadPoolExecutor(len(names) + 2) as pool:
        loud = [pool.submit(engine.chat, question, model=name, max_tokens=40) for name in names]
        mixed = [pool.submit(engine.chat, question, model="base", max_tokens=12) for _ in range(2)]
    for name in names:
        engine.unload(name)
    assert all(answer.result() != alone for answer in loud)
    assert [answer.result() for answer in mixed] == [alone, alone]


def _save_loud_adapter(base: Path, folder: Path, *, seed: int) -> None:
    """A LoRA on every layer's value projection that changes all answers."""
    config = json.loads((base / "config.json").read_text())
    width = config["hidden_size"]
    out = width // config["num_attention_heads"] * config["num_key_value_heads"]
    numbers = np.random.default_rng(seed)
    weights = {}
    for layer in range(config["num_hidden_layers"]):
        name = f"base_model.model.model.layers.{layer}.self_attn.v_proj.lora_{{}}.weight"
        weights[name.format("A")] = numbers.normal(size=(RANK, width)).astype("float32")
        weights[name.format("B")] = numbers.normal(size=(out, RANK)).astype("float32")
    folder.mkdir()
    save_file(weights, folder / "adapter_model.safetensors")
    peft = {"peft_type": "LORA", "r": RANK, "lora_alpha": RANK, "target_modules": ["v_proj"], "bias": "none"}
    (folder / "adapter_config.json").write_text(json.dumps(peft))
