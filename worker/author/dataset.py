"""Turn the author's example files into rows to train on. Pure but for reading the files; seeded."""

import json
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.author import tasks
from worker.author.tasks import Question

DATA_DIR = Path(__file__).parent / "data"
HELD_OUT_EVERY = 16
UNANSWERABLE_SHARE = 0.5

Example = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    """One training row: what the author is asked, and what it shall write."""

    task: str
    text: str
    target: str


def load_examples(folder: Path = DATA_DIR) -> list[Example]:
    """Every example of the folder's JSONL files, in a fixed order."""
    paths = [path for kind in ("facts", "quotes", "chatter") for path in sorted(folder.glob(f"{kind}-*.jsonl"))]
    return [json.loads(line) for path in paths for line in path.read_text().splitlines() if line.strip()]


def split(examples: list[Example]) -> tuple[list[Example], list[Example]]:
    """Training examples and a held-out sixteenth of them, for watching the training."""
    train = [example for index, example in enumerate(examples) if index % HELD_OUT_EVERY]
    return train, examples[::HELD_OUT_EVERY]


def studied_facts(examples: Iterable[Example]) -> list[Example]:
    """The facts that come with details, questions and the rest. Others are there for extraction alone."""
    return [fact for example in examples for fact in example["facts"] if "details" in fact]


def rows_of(examples: list[Example], *, seed: int) -> list[Row]:
    """Rows of all tasks, shuffled. Another seed draws other questions and orders from the same examples."""
    rng = random.Random(seed)
    all_facts = studied_facts(examples)
    chatter = [example["message"] for example in examples if not example["facts"]]
    rows = [row for example in examples for row in _example_rows(example, all_facts, rng)]
    rows += [_buried_row(example, chatter, rng) for example in examples if example["facts"] and chatter]
    rng.shuffle(rows)
    return rows


def _example_rows(example: Example, all_facts: list[Example], rng: random.Random) -> Iterator[Row]:
    yield Row(tasks.EXTRACT, example["message"], _quotes(example))
    for fact in studied_facts([example]):
        statement = fact["quote"]
        yield Row(tasks.DETAILS, statement, "\n".join(detail["answer"] for detail in fact["details"]))
        yield from _question_rows(fact, rng)
        yield Row(tasks.REWRITE, statement, "\n".join(rng.sample(fact["rewrites"], len(fact["rewrites"]))))
        implied = [Question(item["question"], item["answer"]) for item in fact["implications"]]
        yield Row(tasks.IMPLY, statement, tasks.write_implications(implied))
        yield from _answer_rows(fact, all_facts, rng)


def _buried_row(example: Example, chatter: list[str], rng: random.Random) -> Row:
    """The example's facts once more, before or after somebody else's chatter."""
    other = rng.choice(chatter)
    if other[-1].isalnum():
        other += "."
    parts = (
        [example["message"], other]
        if rng.random() < 0.5 and example["message"][-1] in ".!?"
        else [other, example["message"]]
    )
    return Row(tasks.EXTRACT, " ".join(parts), _quotes(example))


def _quotes(example: Example) -> str:
    quotes = sorted((fact["quote"] for fact in example["facts"]), key=example["message"].find)
    return "\n".join(quotes) or tasks.NOTHING


def _question_rows(fact: Example, rng: random.Random) -> Iterator[Row]:
    for detail in fact["details"]:
        questions = rng.sample(detail["questions"], len(detail["questions"]))
        text = tasks.ask_questions(fact["quote"], detail["answer"])
        yield Row(tasks.QA, text, tasks.write_questions(detail["reply"], questions))


def _answer_rows(fact: Example, all_facts: list[Example], rng: random.Random) -> Iterator[Row]:
    detail = rng.choice(fact["details"])
    yield Row(tasks.ANSWER, tasks.ask_answer(fact["quote"], rng.choice(detail["questions"])), detail["answer"])
    other = rng.choice(all_facts)
    if other is not fact and rng.random() < UNANSWERABLE_SHARE:
        question = rng.choice(rng.choice(other["details"])["questions"])
        yield Row(tasks.ANSWER, tasks.ask_answer(fact["quote"], question), tasks.UNKNOWN)
