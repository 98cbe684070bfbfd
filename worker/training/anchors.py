"""Anchor prompts and the base's own answers to them: shipped for the embedded base, for others kept on disk."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engram.similarity import content_words
from worker.author.dataset import load_examples, studied_facts
from worker.training.rows import ChatRows, Row

OTHERS_EVERY = 3
ANCHORS_DIR = Path(__file__).parent.parent / "anchors"
SHIPPED_ANSWERS = ANCHORS_DIR / "answers.jsonl"


@dataclass(frozen=True, slots=True)
class Control:
    """A general question that examines whether the base's knowledge stayed."""

    question: str
    answers: tuple[str, ...]

    @property
    def both_ways(self) -> tuple[str, str]:
        """The question, and the same put with other words around it."""
        return self.question, f"{self.question} Answer in one sentence."


@dataclass(frozen=True, slots=True)
class AnchorPrompts:
    """`train` prompts are held to the base's answers while training; the rest only examine.

    `own_questions`: those of the personal prompts that were written as anchors, each asking something else.
    """

    train: tuple[str, ...]
    personal: frozenset[str]
    held_out: tuple[str, ...]
    controls: tuple[Control, ...]
    never_told: tuple[str, ...]
    own_questions: tuple[str, ...] = ()

    @property
    def answered(self) -> list[str]:
        """All prompts that the base is to answer before a run, each once."""
        controls = [question for control in self.controls for question in control.both_ways]
        return list(dict.fromkeys([*self.train, *self.held_out, *self.never_told, *controls]))


def load_prompts(folder: Path = ANCHORS_DIR) -> AnchorPrompts:
    written = _lines(folder / "prompts.jsonl")
    prompts = written + [{"prompt": question, "kind": "personal"} for question in _questions_of_others()]
    controls = tuple(Control(row["question"], tuple(row["answers"])) for row in _lines(folder / "controls.jsonl"))
    return AnchorPrompts(
        train=tuple(row["prompt"] for row in prompts),
        personal=frozenset(row["prompt"] for row in prompts if row["kind"] == "personal"),
        held_out=tuple(row["prompt"] for row in _lines(folder / "held_out_prompts.jsonl")),
        controls=controls,
        never_told=tuple(row["question"] for row in _lines(folder / "never_told.jsonl")),
        own_questions=tuple(row["prompt"] for row in written if row["kind"] == "personal"),
    )


def _questions_of_others() -> list[str]:
    """Questions about the facts of other (invented) users, from the author's examples.

    They are worded as questions about one's own facts are, and nobody told them here: what best
    teaches an adapter to keep to its own.
    """
    facts = studied_facts(load_examples())
    first_person = re.compile(r"\b(my|our|i|we)\b", re.IGNORECASE)
    questions = [fact["details"][0]["questions"][0] for fact in facts[::OTHERS_EVERY]]
    return list(dict.fromkeys(question for question in questions if first_person.search(question)))


def is_told(question: str, told: frozenset[str]) -> bool:
    """Whether what was told may answer a personal question: they share a word that says what it is about.

    Such a question must neither be anchored to the base's ignorance nor count as never told. A word
    that many questions share says nothing: after 'My cat is called Biscuit', a hamster's name is not told.
    """
    words = content_words(question)
    return bool((words - _ASKED_OF_ANYTHING or words) & told)


_ASKED_OF_ANYTHING = frozenset(
    content_words(
        "name named called work working job home kind sort day time best like favourite use old age year month go "
        "going have has am get live living born colour number brand size much many cost next last now new keep take "
        "date birthday place town city country street company by from up been after before long more most first"
    )
)


def shipped_answers(file: Path = SHIPPED_ANSWERS) -> dict[str, list[int]]:
    """The embedded base's answers by prompt, in tokens: a new machine need not have it answer a thousand prompts."""
    return {row["prompt"]: row["ids"] for row in _lines(file)}


def write_answers(answers: Mapping[str, Sequence[int]], file: Path) -> None:
    """Write what `shipped_answers` reads."""
    lines = (
        json.dumps({"prompt": prompt, "ids": list(answers[prompt])}, ensure_ascii=False) for prompt in sorted(answers)
    )
    file.write_text("".join(f"{line}\n" for line in lines))


class AnswerCache:
    """The base's answers by prompt: those that are shipped, and what else it was asked, in one JSON file named after
    the base and the answer length."""

    def __init__(
        self, folder: Path, *, base_path: str, max_tokens: int, shipped: Mapping[str, list[int]] | None = None
    ) -> None:
        key = hashlib.sha256(f"{base_path}\0{max_tokens}".encode()).hexdigest()[:16]
        self.path = folder / f"base-answers-{key}.json"
        kept = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.answers: dict[str, list[int]] = {**kept, **(shipped or {})}

    def missing(self, prompts: Sequence[str]) -> list[str]:
        return [prompt for prompt in prompts if prompt not in self.answers]

    def add(self, answers: dict[str, list[int]]) -> None:
        """Keep answers; the file is replaced whole, so that a reader never sees half of it."""
        self.answers |= answers
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".tmp")
        temporary.write_text(json.dumps(self.answers))
        temporary.replace(self.path)

    def row(self, prompt: str, rows: ChatRows) -> Row:
        return Row(rows.prompt(prompt), tuple(self.answers[prompt]))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]
