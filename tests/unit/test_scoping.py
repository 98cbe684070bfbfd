"""The server keeps the scopes that it reads, as many as fit into a bound of memory."""

from pathlib import Path

import numpy as np
import pytest

from engram.routing import OWN_SHARD
from scope import decision
from scope.decision import Scope, Vectors
from server.adapter_files import ServedAdapter
from server.chat import scoping
from server.chat.schemas import ChatMessage
from server.chat.scoping import Scoping

EAST, NORTH = np.array([[1, 0]], np.float32), np.array([[0, 1]], np.float32)


def test_message_that_names_others_does_not_lean_on_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Scope.of(EAST, NORTH, names={OWN_SHARD: ["guy"]}).save(tmp_path)
    monkeypatch.setattr(scoping, "_encoder", Encoder)
    adapter = ServedAdapter("engram-x", str(tmp_path), digest="")

    def answering(*said: str) -> int | None:
        messages = [ChatMessage(role="user", content=one) for one in said]
        return Scoping(min_margin=0.1).answering(adapter, messages)

    assert answering("What does Guy play?") == OWN_SHARD
    assert answering("What does Guy play?", "And how old is he?") == OWN_SHARD
    assert answering("What does Guy play?", "And what about Igor Netto?") is None


class Encoder:
    """Knows what asks for a game."""

    def encode_once(self, texts: list[str]) -> Vectors:
        return np.concatenate([EAST if "play" in text else NORTH for text in texts])


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
