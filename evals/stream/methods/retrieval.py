"""Retrieval: what was told is kept as text, and the nearest statement goes before a question in the prompt."""

import json
from collections.abc import Sequence
from pathlib import Path

from evals.stream.bm25 import Bm25
from evals.stream.datasets import Item
from evals.stream.methods.protocol import Question
from evals.stream.methods.untrained import Base, behind
from evals.stream.model import Setup


class Retrieval(Base):
    """The base with one statement before each question: the one with the highest BM25 score, of equal ones the latest.

    A question that shares no content word with any statement is asked bare. Every other one gets a statement, also
    where it asks for something else; that is what retrieval does wrong. Nothing is trained, so the KL is the base's.

    Words are compared, not meanings: the usual choice, embeddings of MiniLM, would have to be downloaded from a
    model hub, and Engram downloads nothing but packages. No package that it needs brings a text encoder or an index.
    """

    can_resume = True
    outcome = "kept as text"

    def __init__(self, setup: Setup, path: Path) -> None:
        """`path`: the file in which the statements are kept, one JSON string a line."""
        super().__init__(setup)
        self.path = path
        self.statements: list[str] = []
        self.index = Bm25()
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            self._keep(json.loads(line))

    def tell(self, statement: str, item: Item) -> None:
        if statement in self.statements:  # told before an interruption
            return
        self._keep(statement)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        lines = (json.dumps(each, ensure_ascii=False) for each in self.statements)
        self.path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    def answer(self, questions: Sequence[Question]) -> list[str]:
        return self.setup.answer([behind(self.nearest(each.text), each.text) for each in questions], None)

    def nearest(self, question: str) -> str | None:
        """The statement that goes before a question, if any shares a word with it."""
        scores = self.index.scores(question)
        best = max(range(len(scores)), key=lambda place: (scores[place], place), default=None)
        return self.statements[best] if best is not None and scores[best] > 0 else None

    def _keep(self, statement: str) -> None:
        self.statements.append(statement)
        self.index.add(statement)
