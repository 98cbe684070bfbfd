"""A tiny base that learns what it is trained on and nothing else, an author who knows every fact of the examples."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from engram.settings import Settings
from evals.gate.build import Bench, Lesson, Options, lessons
from evals.gate.facts import Fact, load
from evals.gate.material import Situation
from tests.fakes.author import KnownFact, ScriptedAuthor
from tests.fakes.base import tiny_base
from worker import teaching
from worker.author import tasks
from worker.author.client import GREEDY, Sampling
from worker.author.tasks import Question
from worker.learner import BASE_ANSWER_TOKENS, Learner
from worker.training.anchors import AnchorPrompts, AnswerCache, Control
from worker.training.rows import ChatRows
from worker.training.stacked_lora import StackedLora
from worker.training.trainer import Trainer

RANK = 4
PERSONAL = ("Who cuts my lawn?", "How old is my kayak?", "What is my gym's name?", "Where did I park?")
PROMPTS = AnchorPrompts(
    train=("Hello!", "What is 2 + 2?", "Why is the sky blue?", "What do cows drink?", "Name a tree.", *PERSONAL),
    personal=frozenset(PERSONAL),
    held_out=("Thanks a lot!", "Name a colour."),
    controls=(Control("What is the capital of France?", ("Paris",)),),
    never_told=("What is my hamster's name?", "Where does my uncle live?"),
)


@pytest.fixture(scope="session")
def learner(tmp_path_factory: pytest.TempPathFactory) -> Learner:
    """A learner over the tiny base, warmed up once."""
    torch.set_num_threads(1)
    base = tiny_base()
    lora, rows = StackedLora(base, rank=RANK, first_layer=1), ChatRows(base.tokenizer)
    cache = AnswerCache(tmp_path_factory.mktemp("cache"), base_path="tiny", max_tokens=BASE_ANSWER_TOKENS)
    learner = Learner(base, lora, rows, Trainer(base, lora, rows), PROMPTS, cache, max_rank=RANK)
    learner.warm_up()
    return learner


@pytest.fixture(scope="session")
def facts() -> list[Fact]:
    return load(None)


@pytest.fixture(scope="module")
def bench(learner: Learner, facts: list[Fact]) -> Iterator[Bench]:
    """Few steps; earlier facts count as known, though the tiny base answers nothing."""
    settings = Settings(home=Path("nowhere"), training_steps=3, lora_rank=RANK)
    options = Options(num_bad=11, num_good=1, lessons_per_ledger=2, most_earlier=4, learned_share=0.0)
    author = WellReadAuthor(facts=tuple(_known(fact) for fact in facts))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(teaching, "NOTES_PER_MORE_STEP", 60)
        yield Bench(learner, author, settings, facts, options)


@pytest.fixture(scope="module")
def lesson(bench: Bench) -> Lesson:
    return next(lessons(bench, most=1))


@pytest.fixture(scope="module")
def situation(lesson: Lesson) -> Situation:
    return lesson.situation


class WellReadAuthor(ScriptedAuthor):
    """Writes nothing about a detail that is not one of the example's."""

    def write(self, task: str, text: str, sampling: Sampling = GREEDY) -> str:
        known = {
            tasks.ask_questions(fact.statement, question.answer) for fact in self.facts for question in fact.questions
        }
        return "" if task == tasks.QA and text not in known else super().write(task, text, sampling)


def _known(fact: Fact) -> KnownFact:
    """The author writes the first half of a person's questions; the other half stays unasked."""
    questions = [
        Question(question, detail.answers[0], f"It is {detail.answers[0]}.")
        for detail in fact.details
        for question in detail.questions[:2]
    ]
    return KnownFact(fact.statement, tuple(questions), ())
