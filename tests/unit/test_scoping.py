"""The server keeps the scopes that it reads, as many as fit into a bound of memory."""

from pathlib import Path

import numpy as np
import pytest

from scope import decision
from scope.decision import Scope
from server.chat import scoping
from server.chat.scoping import Scoping


def _folder(parent: Path, name: str) -> str:
    (parent / name).mkdir()
    Scope.of(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)).save(parent / name)
    return str(parent / name)


@pytest.mark.parametrize(("fit", "read"), [(2, ["a", "b"]), (1, ["a", "b", "a"])])
def test_scopes_are_kept_while_they_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fit: int, read: list[str]
) -> None:
    folders = [_folder(tmp_path, name) for name in ("a", "b")]
    one = decision.load(Path(folders[0]))
    assert one is not None
    seen: list[str] = []

    def watched(folder: Path) -> Scope | None:
        seen.append(folder.name)
        return one

    monkeypatch.setattr(scoping.decision, "load", watched)
    monkeypatch.setattr(scoping, "_MOST_BYTES", fit * one.nbytes)
    kept = Scoping(min_margin=0.0)
    for folder in (*folders, folders[0]):
        assert kept._scope(folder) is one
    assert seen == read
