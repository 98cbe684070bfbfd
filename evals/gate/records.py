"""Keep what was found of each lesson, line by line, so that an interrupted evaluation goes on."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from evals.gate.build import Place
from evals.gate.report import Json, Result
from evals.gate.verdict import Scores
from evals.stream.records import whole_lines


@dataclass(frozen=True, slots=True)
class ExaminedLesson:
    """A lesson's candidates after the gate, what it taught, and where the next lesson begins."""

    results: Sequence[Result]
    taught: Json
    following: Place


class Records:
    """In `folder`, one lesson a line. A line that a kill cut off is dropped."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "lessons.jsonl"

    def all(self) -> list[ExaminedLesson]:
        return [_examined(json.loads(line)) for line in whole_lines(self._path)]

    def add(self, lesson: ExaminedLesson) -> None:
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(lesson), ensure_ascii=False) + "\n")


def _examined(fields: dict[str, Any]) -> ExaminedLesson:
    return ExaminedLesson([_result(each) for each in fields["results"]], fields["taught"], Place(**fields["following"]))


def _result(fields: dict[str, Any]) -> Result:
    scores = fields["scores"] and Scores(**fields["scores"])
    return Result(**{**fields, "failed": tuple(fields["failed"]), "checks": tuple(fields["checks"]), "scores": scores})
