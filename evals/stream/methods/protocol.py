"""What every method can be asked to do."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evals.stream.datasets import Item
from worker.training.stacked_lora import Weights


@dataclass(frozen=True, slots=True)
class Question:
    """`about`: the statement that it is about, or that must not change its answer; None where there is none.

    Only the upper bound, which has the fact in its prompt, may look at it.
    """

    text: str
    about: str | None = None


class Method(Protocol):
    """Is told facts one after another, and answers questions, each in a conversation of its own.

    `can_resume`: whether one that is opened again on its folder still knows what it was told before.
    `outcome`: what became of the fact told last, in a few words.
    """

    can_resume: bool
    outcome: str

    def tell(self, statement: str, item: Item) -> None:
        """Learn the statement. `item` carries its title; its probes are never looked at."""

    def answer(self, questions: Sequence[Question]) -> list[str]:
        """Free greedy answers, in order."""

    def weights(self, prompts: Sequence[str]) -> list[Weights | None]:
        """What differs from the base now where each prompt is answered, as a LoRA on it; None for nothing.

        The same weights are one object in all places.
        """

    def close(self) -> None:
        """Let go of files and connections."""
