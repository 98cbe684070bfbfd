"""What the question encoder learns from: wordings of one question against those of others. Pure but for reading files.

InfoNCE (van den Oord et al. 2018, arXiv 1807.03748) over sentences, as SimCSE's supervised form has it
(Gao et al. 2021, arXiv 2104.08821): wordings of one question attract, all other questions of the batch repel.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from worker.author.dataset import Example, studied_facts
from worker.training.steps import Deck

DETAILS_PER_FACT = 3
WORDINGS = 2

Group = list[str]  # wordings of one question


@dataclass(frozen=True, slots=True)
class Batch:
    """Questions, and for each the number of its group: equal numbers ask the same."""

    questions: list[str]
    groups: list[int]


def groups_of(examples: Sequence[Example]) -> list[list[Group]]:
    """By fact: the questions about each of its details, several wordings each. Details of a fact repel each other."""
    worded = [
        [detail["questions"] for detail in fact["details"] if len(detail["questions"]) >= WORDINGS]
        for fact in studied_facts(examples)
    ]
    return [details for details in worded if details]


class Batches:
    """Draws batches without end: some facts' questions in two wordings each, and single questions that only repel."""

    def __init__(
        self, facts: list[list[Group]], singles: list[str], *, num_facts: int, num_singles: int, seed: int
    ) -> None:
        self.rng = random.Random(seed)
        self.facts, self.singles = Deck(facts, self.rng), Deck(singles, self.rng)
        self.num_facts, self.num_singles = num_facts, num_singles

    def draw(self) -> Batch:
        drawn: list[Group] = []
        for details in self.facts.draw(self.num_facts):
            some: list[Group] = self.rng.sample(details, min(DETAILS_PER_FACT, len(details)))
            drawn += [self.rng.sample(wordings, WORDINGS) for wordings in some]
        drawn += [[question] for question in self.singles.draw(self.num_singles)]
        return Batch(
            [question for group in drawn for question in group],
            [number for number, group in enumerate(drawn) for _ in group],
        )


def contrast(hidden_QD: torch.Tensor, groups_Q: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """Mean InfoNCE loss in nats over the questions that have another wording in the batch.

    Similarity is the cosine after the batch's mean is taken away: all questions share a large part.
    """
    unit_QD = torch.nn.functional.normalize(hidden_QD - hidden_QD.mean(0), dim=-1)
    self_QQ = torch.eye(len(groups_Q), dtype=torch.bool, device=hidden_QD.device)
    similar_QQ = (unit_QD @ unit_QD.T / temperature).masked_fill(self_QQ, float("-inf"))
    same_QQ = (groups_Q[:, None] == groups_Q[None]) & ~self_QQ
    worded_Q = same_QQ.any(1)
    wordings_Q = similar_QQ.masked_fill(~same_QQ, float("-inf")).logsumexp(1)
    return (similar_QQ.logsumexp(1) - wordings_Q)[worded_Q].mean()


def nearest_share(
    known_KD: torch.Tensor, owners_K: Sequence[int], asked_QD: torch.Tensor, owners_Q: Sequence[int]
) -> float:
    """Share of asked questions whose most similar known question asks the same."""
    mean_D = known_KD.mean(0)
    known, asked = (torch.nn.functional.normalize(x - mean_D, dim=-1) for x in (known_KD, asked_QD))
    nearest: list[int] = (asked @ known.T).argmax(-1).tolist()
    right = [owners_K[at] == owner for at, owner in zip(nearest, owners_Q, strict=True)]
    return sum(right) / len(right)
