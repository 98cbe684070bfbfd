"""Keep adapter folders: written once, checked completely. Weights are never changed. Knows no database.

vLLM claims a slot before it looks at shapes, and a file that goes missing under it can kill the
engine, so nothing reaches it that `verify` has not read to the last byte.
"""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file

from engram.errors import AdapterRejected

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
# What the version was taught to answer (`scope/`). Versions published without one have none.
SCOPE = "scope.safetensors"
_NEEDED = (CONFIG, WEIGHTS)


def files_of(folder: Path, *, with_scope: bool = True) -> list[str]:
    """The names of an adapter's files, in the order in which they count for its digest."""
    return [*_NEEDED, *([SCOPE] if with_scope and (folder / SCOPE).exists() else [])]


@dataclass(frozen=True, slots=True)
class BaseShape:
    """What an adapter must fit: input and output width of each module, by its full name."""

    modules: Mapping[str, tuple[int, int]]
    max_rank: int


def digest_folder(folder: Path, *, with_scope: bool = True) -> str:
    """SHA-256 over the adapter's files, names included."""
    digest = hashlib.sha256()
    for name in files_of(folder, with_scope=with_scope):
        digest.update(name.encode() + b"\0" + hashlib.sha256((folder / name).read_bytes()).digest())
    return digest.hexdigest()


def verify(folder: Path, *, shape: BaseShape, digest: str | None = None) -> str:
    """Check an adapter folder against the base and return its digest.

    Raises AdapterRejected for a missing or truncated file, a wrong digest, rank or shape, an
    unknown module, a scope that cannot be used, or a number that is not finite.
    """
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise AdapterRejected(f"{name} is missing")
    found = digest_folder(folder)
    if digest is not None and found != digest:
        raise AdapterRejected(f"digest is {found[:12]}, expected {digest[:12]}: the files were changed")
    rank = _check_config(folder / CONFIG, shape)
    _check_weights(folder / WEIGHTS, shape, rank)
    if (folder / SCOPE).exists():
        _check_scope(folder / SCOPE)
    return found


def install(folder: Path, destination: Path) -> Path:
    """Move a verified folder to its immutable place: fsync, then one rename. A second call is a no-op."""
    if destination.exists():
        shutil.rmtree(folder, ignore_errors=True)
        return destination
    destination.parent.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        _fsync(path)
    _fsync(folder)
    os.rename(folder, destination)
    _fsync(destination.parent)
    return destination


def _check_config(path: Path, shape: BaseShape) -> int:
    try:
        config: dict[str, Any] = json.loads(path.read_text())
        rank = int(config["r"])
    except (ValueError, KeyError, TypeError) as error:
        raise AdapterRejected(f"{CONFIG} cannot be read: {error}") from error
    if config.get("peft_type") != "LORA":
        raise AdapterRejected("not a LoRA adapter")
    if not 1 <= rank <= shape.max_rank:
        raise AdapterRejected(f"rank {rank} is outside 1..{shape.max_rank}")
    return rank


def _check_weights(path: Path, shape: BaseShape, rank: int) -> None:
    halves: dict[str, set[str]] = {}
    try:
        with safe_open(path, framework="numpy") as weights:
            for key in weights.keys():  # noqa: SIM118 -- not a mapping
                module, half = _split(key)
                if module not in shape.modules:
                    raise AdapterRejected(f"the base has no module {module}")
                wide_in, wide_out = shape.modules[module]
                wanted = [rank, wide_in] if half == "A" else [wide_out, rank]
                if list(weights.get_slice(key).get_shape()) != wanted:
                    raise AdapterRejected(f"{key} does not have the shape {wanted}")
                tensor = _tensor(path, weights, key)
                if not math.isfinite(float(abs(tensor).sum(dtype="float64"))):
                    raise AdapterRejected(f"{key} holds NaN or infinite numbers")
                halves.setdefault(module, set()).add(half)
    except (SafetensorError, OSError, TypeError) as error:
        raise AdapterRejected(f"{WEIGHTS} cannot be read: {error}") from error
    if not halves or any(found != {"A", "B"} for found in halves.values()):
        raise AdapterRejected("a module lacks its lora_A or lora_B")


def _check_scope(path: Path) -> None:
    try:
        tensors = load_file(path)
        told, others = tensors["told"], tensors["others"]
    except (SafetensorError, OSError, KeyError) as error:
        raise AdapterRejected(f"{SCOPE} cannot be read: {error}") from error
    if told.ndim != 2 or others.ndim != 2 or told.shape[1] != others.shape[1]:
        raise AdapterRejected(f"{SCOPE} does not hold vectors of one width")
    if "shards" in tensors and tensors["shards"].shape != told.shape[:1]:
        raise AdapterRejected(f"{SCOPE} does not name a shard for each question")
    if len(tensors.get("digests", ())) not in (0, len(told)):
        raise AdapterRejected(f"{SCOPE} does not have a digest for each question")
    if len(tensors.get("names", ())) != len(tensors.get("name_shards", ())):
        raise AdapterRejected(f"{SCOPE} does not name a shard for each name")
    if not (np.isfinite(told).all() and np.isfinite(others).all()):
        raise AdapterRejected(f"{SCOPE} holds NaN or infinite numbers")


def _tensor(path: Path, weights: Any, key: str) -> Any:
    if weights.get_slice(key).get_dtype() != "BF16":
        return weights.get_tensor(key)
    # numpy knows no bfloat16: it is the upper half of a float32.
    with path.open("rb") as file:
        header_size = int.from_bytes(file.read(8), "little")
        start, end = json.loads(file.read(header_size))[key]["data_offsets"]
        file.seek(8 + header_size + start)
        halves = np.frombuffer(file.read(end - start), dtype="<u2")
    return (halves.astype("<u4") << 16).view("<f4")


def _split(key: str) -> tuple[str, str]:
    for half in ("A", "B"):
        suffix = f".lora_{half}.weight"
        if key.startswith("base_model.model.") and key.endswith(suffix):
            return key.removeprefix("base_model.model.").removesuffix(suffix), half
    raise AdapterRejected(f"unknown tensor {key}")


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
