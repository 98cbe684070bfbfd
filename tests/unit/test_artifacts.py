"""Adapter folders: every kind of damage is refused before an engine sees it; installing is atomic."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engram.artifacts import CONFIG, SCOPE, WEIGHTS, BaseShape, digest_folder, install, verify
from engram.errors import AdapterRejected

MODULE = "model.layers.0.self_attn.q_proj"
SHAPE = BaseShape(modules={MODULE: (8, 6), "model.layers.0.mlp.up_proj": (8, 16)}, max_rank=16)
RANK = 4


def _key(half: str, module: str = MODULE) -> str:
    return f"base_model.model.{module}.lora_{half}.weight"


def _tensors(rank: int = RANK, dtype: type = np.float32) -> dict[str, np.ndarray]:
    return {_key("A"): np.full((rank, 8), 0.5, dtype), _key("B"): np.full((6, rank), -0.5, dtype)}


def _write(folder: Path, tensors: dict[str, np.ndarray] | None = None, **config: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    save_file(_tensors() if tensors is None else tensors, folder / WEIGHTS)
    (folder / CONFIG).write_text(json.dumps({"peft_type": "LORA", "r": RANK, **config}))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return _write(tmp_path / "candidate")


def test_a_sound_adapter_is_verified_and_its_digest_returned(folder: Path) -> None:
    digest = verify(folder, shape=SHAPE)
    assert len(digest) == 64
    assert verify(folder, shape=SHAPE, digest=digest) == digest


def test_half_precision_is_fine(tmp_path: Path) -> None:
    verify(_write(tmp_path / "half", _tensors(dtype=np.float16)), shape=SHAPE)


def test_bfloat16_which_numpy_does_not_know_is_read_too(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from safetensors.torch import save_file as save_torch_file

    folder = _write(tmp_path / "bf16")
    tensors = {key: torch.from_numpy(value).to(torch.bfloat16) for key, value in _tensors().items()}
    save_torch_file(tensors, folder / WEIGHTS)
    verify(folder, shape=SHAPE)
    tensors[_key("A")][1, 1] = float("nan")
    save_torch_file(tensors, folder / WEIGHTS)
    with pytest.raises(AdapterRejected, match="NaN"):
        verify(folder, shape=SHAPE)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(AdapterRejected, match=f"{name} is missing"):
        verify(folder, shape=SHAPE)


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(AdapterRejected, match="missing"):
        verify(tmp_path / "nowhere", shape=SHAPE)


@pytest.mark.parametrize("kept", [0, 7, 40, -1])
def test_a_truncated_file_is_refused_wherever_it_was_cut(folder: Path, kept: int) -> None:
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[:kept])
    with pytest.raises(AdapterRejected, match="cannot be read"):
        verify(folder, shape=SHAPE)


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_file_changed_after_it_was_registered_is_refused(folder: Path, name: str) -> None:
    digest = digest_folder(folder)
    data = (folder / name).read_bytes()
    (folder / name).write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(AdapterRejected, match="the files were changed"):
        verify(folder, shape=SHAPE, digest=digest)


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("half", ["A", "B"])
def test_a_single_number_that_is_not_finite_is_refused(tmp_path: Path, half: str, number: float) -> None:
    tensors = _tensors()
    tensors[_key(half)][-1, -1] = number
    with pytest.raises(AdapterRejected, match="NaN or infinite"):
        verify(_write(tmp_path / "bad", tensors), shape=SHAPE)


def test_large_finite_numbers_are_no_infinity(tmp_path: Path) -> None:
    tensors = {key: np.full_like(value, 60_000, np.float16) for key, value in _tensors().items()}
    verify(_write(tmp_path / "large", tensors), shape=SHAPE)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({**_tensors(), _key("A"): np.zeros((RANK, 9), np.float32)}, "does not have the shape"),
        ({**_tensors(), _key("B"): np.zeros((RANK, 6), np.float32)}, "does not have the shape"),
        ({**_tensors(), _key("A"): np.zeros((RANK * 8,), np.float32)}, "does not have the shape"),
        (_tensors(rank=2), "does not have the shape"),
        ({_key("A"): _tensors()[_key("A")]}, "lacks its lora_A or lora_B"),
        ({}, "lacks its lora_A or lora_B"),
        ({**_tensors(), _key("A", "model.layers.9.mlp.up_proj"): np.zeros((4, 8), np.float32)}, "has no module"),
        ({**_tensors(), "base_model.model.lm_head.weight": np.zeros((4, 8), np.float32)}, "unknown tensor"),
        ({**_tensors(), "model.embed.lora_A.weight": np.zeros((4, 8), np.float32)}, "unknown tensor"),
    ],
)
def test_weights_that_do_not_fit_the_base_are_refused(
    tmp_path: Path, tensors: dict[str, np.ndarray], message: str
) -> None:
    with pytest.raises(AdapterRejected, match=message):
        verify(_write(tmp_path / "bad", tensors), shape=SHAPE)


@pytest.mark.parametrize("rank", [0, -4, 17, 10**9])
def test_a_rank_outside_what_the_engine_serves_is_refused(tmp_path: Path, rank: int) -> None:
    with pytest.raises(AdapterRejected, match=r"outside 1\.\.16"):
        verify(_write(tmp_path / "bad", r=rank), shape=SHAPE)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "null", '{"r": null}', '{"r": "four"}', '{"r": 4}', "\x00"])
def test_a_config_that_says_nothing_sound_is_refused(folder: Path, text: str) -> None:
    (folder / CONFIG).write_text(text)
    with pytest.raises(AdapterRejected):
        verify(folder, shape=SHAPE)


def test_a_config_that_is_not_text_is_refused(folder: Path) -> None:
    (folder / CONFIG).write_bytes(b"\xff\xfe\x00{")
    with pytest.raises(AdapterRejected, match="cannot be read"):
        verify(folder, shape=SHAPE)


def test_the_digest_tells_config_from_weights(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder, config, weights in ((first, b"a", b"bc"), (second, b"ab", b"c")):
        folder.mkdir()
        (folder / CONFIG).write_bytes(config)
        (folder / WEIGHTS).write_bytes(weights)
    assert digest_folder(first) != digest_folder(second)


def test_installing_moves_the_folder_to_its_place(folder: Path, tmp_path: Path) -> None:
    digest = digest_folder(folder)
    place = install(folder, tmp_path / "adapters" / "sp_1" / "v1")
    assert digest_folder(place) == digest
    assert not folder.exists()


def test_installing_again_changes_nothing_and_cleans_up(folder: Path, tmp_path: Path) -> None:
    place = install(folder, tmp_path / "adapters" / "v1")
    digest, inode = digest_folder(place), (place / WEIGHTS).stat().st_ino
    again = _write(tmp_path / "again", _tensors(dtype=np.float16))
    assert install(again, place) == place
    assert (digest_folder(place), (place / WEIGHTS).stat().st_ino) == (digest, inode)
    assert not again.exists()


def test_a_crash_before_the_rename_leaves_nothing_at_the_destination(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def crash(_descriptor: int) -> None:
        raise OSError("the power went out")

    place = tmp_path / "adapters" / "v1"
    monkeypatch.setattr("engram.artifacts.os.fsync", crash)
    with pytest.raises(OSError, match="power"):
        install(folder, place)
    assert not place.exists()
    assert sorted(path.name for path in folder.iterdir()) == sorted([CONFIG, WEIGHTS])
    monkeypatch.undo()
    assert digest_folder(install(folder, place))


def test_the_files_are_on_disk_before_the_name_is(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    steps: list[str] = []
    fsync, rename = os.fsync, os.rename
    monkeypatch.setattr("engram.artifacts.os.fsync", lambda fd: (steps.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr("engram.artifacts.os.rename", lambda a, b: (steps.append("rename"), rename(a, b))[1])
    install(folder, tmp_path / "adapters" / "v1")
    assert steps == ["fsync"] * 3 + ["rename", "fsync"]


def _add_scope(folder: Path, told: np.ndarray, others: np.ndarray) -> Path:
    save_file({"told": told, "others": others}, folder / SCOPE)
    return folder


def test_scope_counts_for_the_digest(folder: Path) -> None:
    without = verify(folder, shape=SHAPE)
    vectors = np.ones((2, 3), np.float16)
    digest = verify(_add_scope(folder, vectors, vectors), shape=SHAPE)
    assert digest != without
    with pytest.raises(AdapterRejected, match="digest"):
        verify(_add_scope(folder, 2 * vectors, vectors), shape=SHAPE, digest=digest)
    (folder / SCOPE).unlink()
    with pytest.raises(AdapterRejected, match="digest"):
        verify(folder, shape=SHAPE, digest=digest)


@pytest.mark.parametrize(
    ("told", "others", "reason"),
    [
        (np.ones((2, 3)), np.ones((2, 4)), "one width"),
        (np.ones(3), np.ones((2, 3)), "one width"),
        (np.full((2, 3), np.nan), np.ones((2, 3)), "NaN"),
    ],
)
def test_scope_that_cannot_be_used_is_refused(folder: Path, told: np.ndarray, others: np.ndarray, reason: str) -> None:
    with pytest.raises(AdapterRejected, match=reason):
        verify(_add_scope(folder, told, others), shape=SHAPE)


def test_scope_without_a_digest_for_each_question_is_refused(folder: Path) -> None:
    tensors = {"told": np.ones((2, 3)), "others": np.ones((2, 3)), "digests": np.ones(1, np.uint64)}
    save_file(tensors, folder / SCOPE)
    with pytest.raises(AdapterRejected, match="digest for each question"):
        verify(folder, shape=SHAPE)


def test_scope_without_a_shard_for_each_name_is_refused(folder: Path) -> None:
    tensors = {"told": np.ones((2, 3)), "others": np.ones((2, 3)), "names": np.ones(1, np.uint64)}
    save_file(tensors, folder / SCOPE)
    with pytest.raises(AdapterRejected, match="shard for each name"):
        verify(folder, shape=SHAPE)


def test_scope_that_is_cut_off_is_refused(folder: Path) -> None:
    _add_scope(folder, np.ones((2, 3)), np.ones((2, 3)))
    (folder / SCOPE).write_bytes((folder / SCOPE).read_bytes()[:40])
    with pytest.raises(AdapterRejected, match="cannot be read"):
        verify(folder, shape=SHAPE)
