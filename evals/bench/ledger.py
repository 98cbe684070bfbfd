"""Facts as if an author had studied them, out of the author's own training examples. Seeded."""

import random
from typing import Any

from worker.author import dataset
from worker.author.tasks import Question
from worker.study import Study


def studied_facts(*, seed: int = 0) -> list[Study]:
    """Some 700 different facts with questions, restatements and implications, shuffled."""
    facts = enumerate(dataset.studied_facts(dataset.load_examples()))
    studies = [_study(f"fact_{number:03}", fact) for number, fact in facts]
    random.Random(seed).shuffle(studies)
    return studies


def _study(fact_id: str, fact: dict[str, Any]) -> Study:
    return Study(
        fact_id=fact_id,
        statement=fact["quote"],
        questions=tuple(
            tuple(Question(question, detail["answer"], detail["reply"]) for question in detail["questions"])
            for detail in fact["details"]
        ),
        rewrites=tuple(fact["rewrites"]),
        implications=tuple(Question(item["question"], item["answer"], item["answer"]) for item in fact["implications"]),
    )
