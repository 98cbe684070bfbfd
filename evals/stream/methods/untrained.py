"""The two bounds that train nothing: the base that knows no fact, and the base with the fact in its prompt."""

from collections.abc import Sequence

from evals.stream.datasets import Item
from evals.stream.methods.protocol import Question
from evals.stream.model import Setup
from worker.training.stacked_lora import Weights


class Base:
    """The untouched base: nothing is learned."""

    can_resume = True
    outcome = "not learned"

    def __init__(self, setup: Setup) -> None:
        self.setup = setup

    def tell(self, statement: str, item: Item) -> None:
        pass

    def answer(self, questions: Sequence[Question]) -> list[str]:
        return self.setup.answer([question.text for question in questions], None)

    def weights(self, prompts: Sequence[str]) -> list[Weights | None]:
        return [None] * len(prompts)

    def close(self) -> None:
        pass


class InContext(Base):
    """Upper bound: the base with the one statement that a question is about in front of it, as if a retrieval without
    error had found it. Questions about no fact are asked as they are, so controls and KL are the base's."""

    outcome = "in the prompt"

    def answer(self, questions: Sequence[Question]) -> list[str]:
        return self.setup.answer([behind(each.about, each.text) for each in questions], None)


def behind(statement: str | None, question: str) -> str:
    """The prompt that puts a statement before a question, or the bare question."""
    return f"{statement}\n{question}" if statement else question
