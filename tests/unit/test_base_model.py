"""The base model's folder: what is accepted, and that damage is noticed. Unpacking itself is in the e2e tests."""

import json
from pathlib import Path

import pytest

from engram.errors import InvalidRequest
from engram.settings import Settings
from worker import base_model


@pytest.fixture
def unpacked(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Replace the slow dequantising by two small files; collects the folders it was asked for."""
    calls: list[Path] = []

    def dequantise(_gguf: Path, folder: Path) -> None:
        calls.append(folder)
        (folder / "config.json").write_text("{}")
        (folder / "model.safetensors").write_bytes(b"weights")

    monkeypatch.setattr(base_model, "dequantise", dequantise)
    return calls


def test_model_is_unpacked_once_and_verified_afterwards(settings: Settings, unpacked: list[Path]) -> None:
    first = base_model.prepare(settings)
    assert base_model.prepare(settings) == first == settings.models_dir / "SmolLM2-135M-Instruct"
    assert len(unpacked) == 1
    manifest = json.loads((first / "manifest.json").read_text())
    assert set(manifest["sha256"]) == {"config.json", "model.safetensors"}


@pytest.mark.parametrize("name", ["model.safetensors", "manifest.json"])
def test_damaged_model_is_unpacked_again(settings: Settings, unpacked: list[Path], name: str) -> None:
    folder = base_model.prepare(settings)
    (folder / name).write_bytes(b"dam")
    base_model.prepare(settings)
    assert len(unpacked) == 2
    assert (folder / "model.safetensors").read_bytes() == b"weights"


def test_missing_file_is_noticed(settings: Settings, unpacked: list[Path]) -> None:
    folder = base_model.prepare(settings)
    (folder / "config.json").unlink()
    assert not base_model.is_intact(folder)


def test_interrupted_unpacking_leaves_no_model_behind(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_gguf: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(base_model, "dequantise", interrupted)
    with pytest.raises(KeyboardInterrupt):
        base_model.prepare(settings)
    assert [path.name for path in settings.models_dir.iterdir() if path.is_dir()] == []


def test_packaged_file_with_other_contents_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(base_model, "GGUF_SHA256", "0" * 64)
    with pytest.raises(base_model.BaseModelDamaged, match="missing or damaged"):
        base_model.find_gguf()


def test_chosen_folder_is_used_as_it_is(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert base_model.prepare(settings.model_copy(update={"model": str(tmp_path)})) == tmp_path


@pytest.mark.parametrize("model", ["/no/such/model", "./nothing-here", "~/nothing-here"])
def test_folder_without_a_model_is_refused_by_name(settings: Settings, model: str) -> None:
    with pytest.raises(InvalidRequest, match=f"ENGRAM_MODEL={model}.*config.json"):
        base_model.prepare(settings.model_copy(update={"model": model}))


def test_hub_id_is_passed_through(settings: Settings) -> None:
    chosen = settings.model_copy(update={"model": "HuggingFaceTB/SmolLM2-360M-Instruct"})
    assert str(base_model.prepare(chosen)) == "HuggingFaceTB/SmolLM2-360M-Instruct"
