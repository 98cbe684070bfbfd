"""Check that an adapter's files are whole before an engine is told of them. Never changes them."""

from dataclasses import dataclass
from pathlib import Path

from engram.artifacts import digest_folder, files_of
from engram.errors import AdapterRejected
from engram.models import AdapterVersion


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """What an engine must know of a version: its name, its folder, and the digest the folder must have."""

    lora_name: str
    path: str
    digest: str

    @classmethod
    def of(cls, row: AdapterVersion) -> "ServedAdapter":
        return cls(row.lora_name, row.path, row.digest)


class AdapterFiles:
    """Reads a folder once for as long as its files keep their size and time of change."""

    def __init__(self) -> None:
        self._digests: dict[tuple[object, ...], str] = {}

    def check(self, adapter: ServedAdapter) -> None:
        """Raises AdapterRejected if the files are missing or are not those that were published."""
        folder = Path(adapter.path)
        try:
            stats = [(folder / name).stat() for name in files_of(folder)]
            key = (adapter.path, *((stat.st_mtime_ns, stat.st_size) for stat in stats))
            if key not in self._digests:
                self._digests[key] = digest_folder(folder)
        except OSError as error:
            raise AdapterRejected(f"files of {adapter.lora_name} cannot be read: {error.strerror}") from error
        if self._digests[key] != adapter.digest:
            raise AdapterRejected(f"files of {adapter.lora_name} were changed after they were published")
