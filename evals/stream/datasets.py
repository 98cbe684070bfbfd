"""Read facts and the questions about them from public sets, one reader a format. Trains on nothing, asks nothing.

A set is a file of its source's own format: a JSON array, or one JSON object a line.
"""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from evals.stream.rows import DatasetError, Row, read_each


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
    return read_each(path, _READERS[dataset], what=dataset)


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


def _told_once(row: Row) -> Item:
    """Engram's own: the statement as it would be extracted, and probes with aliases."""
    probes = (Probe(p.text("question"), (p.text("answer"), *p.texts("aliases"))) for p in row.rows("probes"))
    return Item(row.text("statement"), tuple(probes))


def _wikidyk(row: Row) -> Item:
    return Item(plain_sentence(row.text("fact")), (Probe(row.text("input"), (row.text("output"),)),))


def zsre_item(row: Row, answer_key: str) -> Item:
    """The edit of De Cao et al. 2021: the question itself, its paraphrase, and a question of another subject."""
    question, answer = row.text("src"), (row.text(answer_key),)
    other = row.text("loc").removeprefix("nq question:").strip()
    probes = (
        Probe(question, answer),
        Probe(row.text("rephrase"), answer, Kind.REPHRASED),
        Probe(other if other.endswith("?") else f"{other}?", (row.text("loc_ans"),), Kind.UNRELATED),
    )
    return Item(_with_stop(f"{question} {answer[0]}"), probes)


def counterfact_item(row: Row, answer_key: str) -> Item:
    """Prompts are beginnings of sentences (Meng et al. 2022). Some of those given as rephrased ask for what follows
    from the edit, and no answer to them can hold its words: what counts as rephrased here is a lower bound."""
    prompt, answer = row.text("prompt"), (row.text(answer_key),)
    probes = (
        Probe(prompt, answer),
        Probe(row.text("rephrase_prompt"), answer, Kind.REPHRASED),
        Probe(row.text("locality_prompt"), (row.text("locality_ground_truth"),), Kind.UNRELATED),
    )
    return Item(_with_stop(f"{prompt} {answer[0]}"), probes)


def _squad(row: Row) -> Item:
    """A passage with its questions, as in SEAL's knowledge incorporation."""
    probes = (Probe(each.text("question"), (each.text("answer"),)) for each in row.rows("questions"))
    return Item(row.text("context"), tuple(probes), row.text("title"))


_READERS: dict[Dataset, Callable[[Row], Item]] = {
    Dataset.TOLD_ONCE: _told_once,
    Dataset.WIKIDYK: _wikidyk,
    Dataset.ZSRE: lambda row: zsre_item(row, "alt"),
    Dataset.COUNTERFACT: lambda row: counterfact_item(row, "target_new"),
    Dataset.SQUAD: _squad,
}
