"""Build the command and the environment that start vLLM for these settings. Starts nothing itself."""

import os
import sys
from collections.abc import Collection, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import urlsplit

from engram.errors import InvalidRequest
from engram.hardware import Device, choose_dtype, read_cpu_flags
from engram.settings import Settings
from engram.vllm_client import BASE_NAME

ENTRY_MODULE = "vllm.entrypoints.launchers.api_server.entry"
LOOPBACK = "127.0.0.1"
SERVED_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def engine_command(settings: Settings, *, model: str, device: Device, host: str = LOOPBACK) -> list[str]:
    """The command line of one vLLM on the first engine URL's port. Much of vLLM knows no key: never a public `host`."""
    dtype = choose_dtype(settings.dtype, device=device, cpu_flags=read_cpu_flags())
    command = [sys.executable, "-m", ENTRY_MODULE, "--model", model, "--served-model-name", BASE_NAME]
    slots = str(settings.max_loaded_adapters)
    command += ["--enable-lora", "--max-loras", slots, "--max-cpu-loras", slots]
    command += ["--max-lora-rank", str(served_rank(settings.lora_rank))]
    command += ["--dtype", dtype, "--max-model-len", str(settings.engine_max_model_len)]
    command += ["--host", host, "--port", str(engine_port(settings))]
    if settings.engine_api_key:
        command += ["--api-key", settings.engine_api_key]
    return command


def engine_environment(
    settings: Settings, *, model: str, device: Device, inherited: Mapping[str, str]
) -> dict[str, str]:
    """`inherited` plus what vLLM reads from the environment. Nothing of it phones home."""
    environment = dict(inherited)
    environment |= {"VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
    if Path(model).is_absolute():
        environment["HF_HUB_OFFLINE"] = "1"
    if device == "cpu":
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(settings.engine_kv_cache_gib)
        environment["VLLM_CPU_OMP_THREADS_BIND"] = bind_list(os.sched_getaffinity(0))
    return environment


def engine_device() -> Device:
    """What the installed vLLM computes on: its CPU build is another package."""
    try:
        version("vllm-cpu")
    except PackageNotFoundError:
        return "cuda"
    return "cpu"


def engine_port(settings: Settings) -> int:
    """The port of the first engine URL. Raises InvalidRequest for a URL without one."""
    port = urlsplit(settings.engines[0]).port if settings.engines else None
    if port is None:
        raise InvalidRequest(f"ENGRAM_ENGINE_URLS={settings.engine_urls!r} names no port", param="engine_urls")
    return port


def served_rank(lora_rank: int) -> int:
    """The smallest rank that vLLM can be started with and that holds `lora_rank`. Raises InvalidRequest above 512."""
    for rank in SERVED_RANKS:
        if rank >= lora_rank:
            return rank
    raise InvalidRequest(
        f"ENGRAM_LORA_RANK={lora_rank} is more than vLLM serves ({SERVED_RANKS[-1]})", param="lora_rank"
    )


def bind_list(cpus: Collection[int]) -> str:
    """Core ids as vLLM reads them: `0-3,6`."""
    runs: list[list[int]] = []
    for cpu in sorted(cpus):
        if runs and cpu == runs[-1][1] + 1:
            runs[-1][1] = cpu
        else:
            runs.append([cpu, cpu])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in runs)
