"""Pack adapter folders as a tar, piece by piece. Reads only the two files of each PEFT adapter."""

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from engram.artifacts import CONFIG, WEIGHTS

_PIECE_BYTES = 256 * 1024


def tar_pieces(folders: Mapping[str, Path]) -> Iterator[bytes]:
    """The bytes of a tar that unpacks to these folders, by name. Never holds a whole file in memory."""
    for name, folder in folders.items():
        for file_name in (CONFIG, WEIGHTS):
            yield from _member(folder / file_name, f"{name}/{file_name}")
    yield bytes(2 * tarfile.BLOCKSIZE)


def _member(path: Path, name: str) -> Iterator[bytes]:
    stat = path.stat()
    info = tarfile.TarInfo(name)
    info.size, info.mtime, info.mode = stat.st_size, int(stat.st_mtime), 0o644
    yield info.tobuf(format=tarfile.PAX_FORMAT)
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            yield piece
    yield bytes(-stat.st_size % tarfile.BLOCKSIZE)
