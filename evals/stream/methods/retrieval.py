"""Retrieval: what was told is kept as text, and the nearest statement goes before a question in the prompt."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from evals.stream.datasets import Item
from evals.stream.methods.protocol import Question
from evals.stream.methods.untrained import Base, behind
from evals.stream.model import Setup
from scope.encoder import open_encoder


class Retrieval(Base):
    """The base with one statement before each question: the nearest by the sentence encoder's cosine.

    Every question gets a statement, also one that asks for something else; that is what retrieval does wrong.
    Nothing is trained, so the KL is the base's.
    """

    can_resume = True
    outcome = "kept as text"

    def __init__(self, setup: Setup, path: Path) -> None:
        """`path`: the file in which the statements are kept, one JSON string a line."""
        super().__init__(setup)
        self.path = path
        self.statements: list[str] = []
        self._encoder = open_encoder()
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            self.statements.append(json.loads(line))

    def tell(self, statement: str, item: Item) -> None:
        if statement in self.statements:  # told before an interruption
            return
        self.statements.append(statement)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(each, ensure_ascii=False) for each in self.statements)
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def answer(self, questions: Sequence[Question]) -> list[str]:
        return self.setup.answer([behind(self.nearest(each.text), each.text) for each in questions], None)

    def nearest(self, question: str) -> str | None:
        """The statement that goes before a question, once anything was told."""
        if not self.statements:
            return None
        cosines_S = self._encoder.encode(self.statements) @ self._encoder.encode([question])[0]
        return self.statements[int(np.argmax(cosines_S))]
