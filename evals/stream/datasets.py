"""Read facts and the questions about them from public sets, one reader a format. Trains on nothing, asks nothing.

A set is a file of its source's own format: a JSON array, or one JSON object a line.
"""

import json
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any


class DatasetError(RuntimeError):
    """A file does not hold what its format promises; the message says which row and what is wrong."""


class Dataset(StrEnum):
    """The formats that can be read."""

    TOLD_ONCE = "told-once"
    WIKIDYK = "wikidyk"
    ZSRE = "zsre"
    COUNTERFACT = "counterfact"
    SQUAD = "squad"


class Kind(StrEnum):
    """What a probe is for."""

    OWN = "own"  # asks for the fact: what recall counts
    REPHRASED = "rephrased"  # asks for it in other words, in sets that tell the two apart
    UNRELATED = "unrelated"  # asks for something else, whose answer must not change


@dataclass(frozen=True, slots=True)
class Probe:
    """A question, and the answers that are right."""

    question: str
    answers: tuple[str, ...]
    kind: Kind = Kind.OWN


@dataclass(frozen=True, slots=True)
class Item:
    """A fact to tell, and what to ask about it. `title` names a passage's article; no other set has one."""

    statement: str
    probes: tuple[Probe, ...]
    title: str = ""

    @property
    def graded(self) -> tuple[Probe, ...]:
        """The probes that ask for the fact."""
        return tuple(probe for probe in self.probes if probe.kind != Kind.UNRELATED)

    @property
    def unrelated(self) -> tuple[Probe, ...]:
        return tuple(probe for probe in self.probes if probe.kind == Kind.UNRELATED)


def read(dataset: Dataset, path: Path) -> list[Item]:
    """Every fact of a file, in its order. Raises DatasetError."""
    items = []
    for number, fields in enumerate(_rows(path), start=1):
        try:
            items.append(_READERS[dataset](_Row(fields)))
        except DatasetError as error:
            raise DatasetError(f"{path}, row {number} is no {dataset} row: {error}") from None
    return items


def draw(items: Sequence[Item], *, n: int, seed: int) -> list[Item]:
    """`n` facts in the order of the stream, drawn with `seed`; a larger `n` goes on where a smaller one ended.

    A statement that stands in several rows is drawn once. Raises DatasetError where there are too few.
    """
    different = list({item.statement: item for item in items}.values())
    if not 0 < n <= len(different):
        raise DatasetError(f"cannot tell {n} facts: the set has {len(different)} different ones")
    return random.Random(seed).sample(different, len(different))[:n]


def plain_sentence(fact: str) -> str:
    """'that Ada 's cat sang (pictured)?' -> 'Ada's cat sang.': a line of Wikipedia's 'Did you know' as a statement."""
    text = re.sub(r"^\s*that\b,?\s*", "", fact.replace("\xad", ""))
    text = re.sub(r"\s*\([^()]*\bpictured\)", "", text).strip().removesuffix("?")
    text = re.sub(r"\s+(['’]s)\b", r"\1", text)
    parts = text.split('"')
    if len(parts) % 2:  # every quotation is closed
        parts[1::2] = [quoted.strip() for quoted in parts[1::2]]
    text = '"'.join(parts).strip()
    return _with_stop(text[:1].upper() + text[1:])


def _with_stop(text: str) -> str:
    return text if text.rstrip('"”’)')[-1:] in (".", "!", "?") else f"{text}."


class _Row:
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

    def rows(self, key: str) -> list["_Row"]:
        value = self._get(key)
        if not isinstance(value, list) or not value:
            raise DatasetError(f"{key!r} is not a list with at least one entry: {value!r}")
        return [_Row(each) for each in value]

    def _get(self, key: str) -> Any:
        if key not in self.fields:
            raise DatasetError(f"{key!r} is missing; it has {', '.join(map(repr, self.fields))}")
        return self.fields[key]


def _told_once(row: _Row) -> Item:
    """Engram's own: the statement as it would be extracted, and probes with aliases."""
    probes = (Probe(p.text("question"), (p.text("answer"), *p.texts("aliases"))) for p in row.rows("probes"))
    return Item(row.text("statement"), tuple(probes))


def _wikidyk(row: _Row) -> Item:
    return Item(plain_sentence(row.text("fact")), (Probe(row.text("input"), (row.text("output"),)),))


def _zsre(row: _Row) -> Item:
    """The edit of De Cao et al. 2021: the question itself, its paraphrase, and a question of another subject."""
    question, answer = row.text("src"), (row.text("alt"),)
    other = row.text("loc").removeprefix("nq question:").strip()
    probes = (
        Probe(question, answer),
        Probe(row.text("rephrase"), answer, Kind.REPHRASED),
        Probe(other if other.endswith("?") else f"{other}?", (row.text("loc_ans"),), Kind.UNRELATED),
    )
    return Item(_with_stop(f"{question} {answer[0]}"), probes)


def _counterfact(row: _Row) -> Item:
    """Prompts are beginnings of sentences (Meng et al. 2022). Some of those given as rephrased ask for what follows
    from the edit, and no answer to them can hold its words: what counts as rephrased here is a lower bound."""
    prompt, answer = row.text("prompt"), (row.text("target_new"),)
    probes = (
        Probe(prompt, answer),
        Probe(row.text("rephrase_prompt"), answer, Kind.REPHRASED),
        Probe(row.text("locality_prompt"), (row.text("locality_ground_truth"),), Kind.UNRELATED),
    )
    return Item(_with_stop(f"{prompt} {answer[0]}"), probes)


def _squad(row: _Row) -> Item:
    """A passage with its questions, as in SEAL's knowledge incorporation."""
    probes = (Probe(each.text("question"), (each.text("answer"),)) for each in row.rows("questions"))
    return Item(row.text("context"), tuple(probes), row.text("title"))


_READERS: dict[Dataset, Callable[[_Row], Item]] = {
    Dataset.TOLD_ONCE: _told_once,
    Dataset.WIKIDYK: _wikidyk,
    Dataset.ZSRE: _zsre,
    Dataset.COUNTERFACT: _counterfact,
    Dataset.SQUAD: _squad,
}


def _rows(path: Path) -> list[Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DatasetError(f"{path} cannot be read: {error.strerror}") from error
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
