"""Keep what a method was told and answered, line by line, so that an interrupted evaluation goes on."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any


class OtherRun(RuntimeError):
    """The folder belongs to an evaluation of something else."""


@dataclass(frozen=True, slots=True)
class Besides:
    """What was answered besides the facts, each in the order of its questions; `kl` in nats a token."""

    controls: list[str]
    never_told: list[str]
    unrelated: list[str]
    kl: float


@dataclass(frozen=True, slots=True)
class Told:
    """One fact told, `fact` its place in the stream from 0. `outcome`: what became of it, in the method's words.

    `answers`: of each fact asked after it, the answers to its graded probes, in their order. `besides`: None where
    it was not asked.
    """

    fact: int
    seconds: float
    outcome: str
    answers: dict[int, list[str]]
    besides: Besides | None = None


class Records:
    """Of one method, in a folder of its own. A line that a kill cut off is dropped."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._facts, self._end = folder / "facts.jsonl", folder / "end.json"

    def told(self) -> list[Told]:
        return [_told(json.loads(line)) for line in whole_lines(self._facts)]

    def ended(self) -> Besides | None:
        return Besides(**read_whole(self._end)) if self._end.exists() else None

    def add(self, told: Told) -> None:
        with self._facts.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(told), ensure_ascii=False) + "\n")

    def end(self, ended: Besides) -> None:
        write_whole(self._end, asdict(ended))

    def clear(self) -> None:
        self._facts.unlink(missing_ok=True)
        self._end.unlink(missing_ok=True)


def whole_lines(path: Path) -> list[str]:
    """The lines of a file, if there is one. What a kill cut off at its end is dropped from the file too."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    complete, _, cut_off = text.rpartition("\n")
    if cut_off:
        path.write_text(complete + "\n" if complete else "", encoding="utf-8")
    return complete.splitlines()


def write_whole(path: Path, value: Any, *, indent: int | None = None) -> None:
    """A JSON file that appears complete or not at all."""
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(value, ensure_ascii=False, indent=indent), encoding="utf-8")
    temporary.replace(path)


def read_whole(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def claim(folder: Path, what: Mapping[str, Any]) -> None:
    """Write down what the folder's evaluation measures. Raises OtherRun if it measures something else already."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "evaluation.json"
    if not path.exists():
        path.write_text(json.dumps(what, indent=2) + "\n", encoding="utf-8")
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    if different := [key for key in {**before, **what} if before.get(key) != what.get(key)]:
        changes = ", ".join(f"{key} was {before.get(key)!r} and is {what.get(key)!r}" for key in different)
        raise OtherRun(f"{folder} holds another evaluation: {changes}")


def _told(fields: dict[str, Any]) -> Told:
    answers = {int(fact): answers for fact, answers in fields["answers"].items()}
    besides = fields["besides"] and Besides(**fields["besides"])
    return Told(**{**fields, "answers": answers, "besides": besides})
