"""How vLLM is started, and which numbers and devices a machine computes with."""

from pathlib import Path

import pytest

from cli.engine import LOOPBACK, bind_list, engine_command, engine_environment, engine_port, served_rank
from engram.errors import InvalidRequest
from engram.hardware import choose_device, choose_dtype, parse_cpu_flags
from engram.settings import Settings

CPUINFO = "processor\t: 0\nflags\t\t: fpu avx2 avx512_bf16\nprocessor\t: 1\nflags\t\t: fpu avx2\n"


def value_after(command: list[str], flag: str) -> str:
    return command[command.index(flag) + 1]


def test_engine_listens_on_loopback_on_the_first_urls_port(settings: Settings) -> None:
    chosen = settings.model_copy(update={"engine_urls": "http://127.0.0.1:9123,http://10.0.0.2:8001"})
    command = engine_command(chosen, model="/models/base", device="cpu")
    assert value_after(command, "--port") == "9123"
    assert value_after(command, "--host") == LOOPBACK
    assert value_after(command, "--model") == "/models/base"
    assert value_after(command, "--served-model-name") == "base"
    assert "--api-key" not in command


def test_engine_key_is_passed_on_when_set(settings: Settings) -> None:
    command = engine_command(settings.model_copy(update={"engine_api_key": "s3"}), model="/m", device="cpu")
    assert value_after(command, "--api-key") == "s3"


def test_engine_holds_as_many_adapters_as_it_can_use_at_once(settings: Settings) -> None:
    command = engine_command(settings.model_copy(update={"max_loaded_adapters": 3}), model="/m", device="cpu")
    assert value_after(command, "--max-cpu-loras") == value_after(command, "--max-loras") == "3"


def test_environment_is_offline_for_a_folder_and_online_for_a_hub_id(settings: Settings) -> None:
    local = engine_environment(settings, model="/m", device="cpu", inherited={"A": "1"})
    remote = engine_environment(settings, model="org/name", device="cpu", inherited={})
    assert local["HF_HUB_OFFLINE"] == "1"
    assert local["A"] == "1"
    assert "HF_HUB_OFFLINE" not in remote
    assert remote["VLLM_ALLOW_RUNTIME_LORA_UPDATING"] == "1"


def test_cpu_settings_are_left_out_on_a_gpu(settings: Settings) -> None:
    environment = engine_environment(settings, model="/m", device="cuda", inherited={})
    assert not [name for name in environment if name.startswith("VLLM_CPU")]


@pytest.mark.parametrize(("rank", "served"), [(1, 8), (8, 8), (9, 16), (16, 16), (100, 128), (257, 320)])
def test_served_rank_is_the_next_that_vllm_knows(rank: int, served: int) -> None:
    assert served_rank(rank) == served


def test_rank_above_all_that_vllm_serves_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="ENGRAM_LORA_RANK=513"):
        served_rank(513)


def test_engine_url_without_a_port_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match="names no port"):
        engine_port(Settings(home=tmp_path, engine_urls="http://localhost"))


@pytest.mark.parametrize(
    ("cpus", "written"), [({0}, "0"), ({0, 1}, "0-1"), ({3, 0, 1, 2, 6}, "0-3,6"), ({1, 3, 4}, "1,3-4")]
)
def test_cores_are_written_as_vllm_reads_them(cpus: set[int], written: str) -> None:
    assert bind_list(cpus) == written


def test_dtype_auto_is_bfloat16_only_where_it_is_fast() -> None:
    assert choose_dtype("auto", device="cpu", cpu_flags=parse_cpu_flags(CPUINFO)) == "bfloat16"
    assert choose_dtype("auto", device="cpu", cpu_flags={"avx2", "amx_bf16"}) == "bfloat16"
    assert choose_dtype("auto", device="cpu", cpu_flags={"avx2", "avx512f"}) == "float32"
    assert choose_dtype("auto", device="cuda", cpu_flags=()) == "bfloat16"


def test_dtype_and_device_that_were_chosen_are_kept() -> None:
    assert choose_dtype("float32", device="cuda", cpu_flags={"amx_bf16"}) == "float32"
    assert choose_dtype("bfloat16", device="cpu", cpu_flags=()) == "bfloat16"
    assert choose_device("cpu", has_gpu=True) == "cpu"
    assert choose_device("auto", has_gpu=True) == "cuda"
    assert choose_device("auto", has_gpu=False) == "cpu"


def test_cpuinfo_without_flags_has_none() -> None:
    assert parse_cpu_flags("processor\t: 0\nBogoMIPS\t: 50\n") == frozenset()
