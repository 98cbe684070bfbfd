"""Decide which numbers and which device this machine computes with. Imports the standard library only.

Set-up uses it before anything is installed, the supervisor to start vLLM, the worker to train:
one answer for all of them.
"""

import shutil
import subprocess
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Literal

Dtype = Literal["float32", "bfloat16"]
Device = Literal["cpu", "cuda"]

_FAST_BFLOAT16_FLAGS = frozenset({"avx512_bf16", "amx_bf16"})


def choose_dtype(wanted: str, *, device: Device, cpu_flags: Collection[str]) -> Dtype:
    """`wanted` unless it is `auto`; then bfloat16 where it is fast: on CUDA, and on CPUs with instructions for it.

    CPUs without them emulate bfloat16, which is slower than float32.
    """
    if wanted == "float32":
        return "float32"
    if wanted == "bfloat16" or device == "cuda":
        return "bfloat16"
    return "bfloat16" if _FAST_BFLOAT16_FLAGS.intersection(cpu_flags) else "float32"


def choose_device(wanted: str, *, has_gpu: bool) -> Device:
    """`wanted` unless it is `auto`; then CUDA where there is an NVIDIA GPU."""
    if wanted == "cuda" or (wanted == "auto" and has_gpu):
        return "cuda"
    return "cpu"


def parse_cpu_flags(cpuinfo: str) -> frozenset[str]:
    """The flags of the first processor in the text of /proc/cpuinfo; none if it has no such line."""
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "flags":
            return frozenset(value.split())
    return frozenset()


@cache
def read_cpu_flags() -> frozenset[str]:
    """This machine's CPU flags; none where the kernel does not tell."""
    try:
        return parse_cpu_flags(Path("/proc/cpuinfo").read_text())
    except OSError:
        return frozenset()


@cache
def has_nvidia_gpu() -> bool:
    """Whether nvidia-smi is here and lists a GPU."""
    if shutil.which("nvidia-smi") is None:
        return False
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU " in listed.stdout
