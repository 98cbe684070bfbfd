"""Read a file of rows, and say which row does not hold what its format promises. Knows no format."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


class DatasetError(RuntimeError):
    """A file does not hold what its format promises; the message says which row and what is wrong."""


class Row:
    """The fields of one row; asking for one that is not there, or is not what it should be, raises DatasetError."""

    def __init__(self, fields: Any) -> None:
        if not isinstance(fields, dict):
            raise DatasetError(f"it is a {type(fields).__name__}, not an object")
        self.fields = fields

    def text(self, key: str) -> str:
        value = self._get(key)
        if not isinstance(value, str) or not value.strip():
            raise DatasetError(f"{key!r} is not a text: {value!r}")
        return value.strip()

    def texts(self, key: str) -> list[str]:
        """Empty where the field is not given."""
        value = self.fields.get(key, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise DatasetError(f"{key!r} is not a list of texts: {value!r}")
        return value

    def row(self, key: str) -> "Row":
        """Empty where the field is not given."""
        return Row(self.fields.get(key, {}))

    def rows(self, key: str) -> list["Row"]:
        value = self._get(key)
        if not isinstance(value, list) or not value:
            raise DatasetError(f"{key!r} is not a list with at least one entry: {value!r}")
        return [Row(each) for each in value]

    def _get(self, key: str) -> Any:
        if key not in self.fields:
            raise DatasetError(f"{key!r} is missing; it has {', '.join(map(repr, self.fields))}")
        return self.fields[key]


def read_each(path: Path, read: Callable[[Row], T], *, what: str) -> list[T]:
    """What `read` makes of each row, in the file's order. Raises DatasetError that names the row that is no `what`."""
    found = []
    for number, fields in enumerate(load_rows(path), start=1):
        try:
            found.append(read(Row(fields)))
        except DatasetError as error:
            raise DatasetError(f"{path}, row {number} is no {what} row: {error}") from None
    return found


def load_rows(path: Path) -> list[Any]:
    """A JSON array, or one JSON object a line. Raises DatasetError where there is none, or nothing in it."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DatasetError(f"{path} is not UTF-8 text: {error.reason}") from error
    try:
        found = json.loads(text) if text.lstrip().startswith("[") else _lines(text)
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path} is not JSON: {error}") from error
    if not found:
        raise DatasetError(f"{path} holds no row")
    return list(found)


def _lines(text: str) -> list[Any]:
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise json.JSONDecodeError(f"line {number}: {error.msg}", line, error.pos) from None
    return found
