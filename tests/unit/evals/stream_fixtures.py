"""A stream of two facts, and all that the methods need to be told it: a tiny base and a scripted author."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

import torch

from engram.gate import ProbeKind, ProbeReport, SliceScore
from engram.settings import Settings
from evals.stream.datasets import Item, Kind, Probe
from evals.stream.methods.protocol import Question
from evals.stream.model import Setup
from evals.stream.reference import Questions
from tests.fakes.author import KnownFact, ScriptedAuthor
from tests.fakes.base import tiny_base
from worker.author.client import Author
from worker.author.tasks import Question as Written
from worker.learner import ANCHOR_TOKENS, Learner
from worker.probing import Asked, Examination, Examined
from worker.served import Served
from worker.training.anchors import AnchorPrompts, AnswerCache, Control
from worker.training.rows import ChatRows
from worker.training.stacked_lora import StackedLora, Weights
from worker.training.trainer import Trainer

CAT = KnownFact(
    "My cat is called Biscuit.",
    questions=(Written("What is my cat called?", "Biscuit", "Your cat is called Biscuit."),),
    probes=(Written("By what name do I call in my pet at night?", "Biscuit"),),
    rewrites=("Biscuit is what your cat is called.",),
    implications=(Written("Do I have a pet?", "Yes, a cat.", "Yes, a cat."),),
)
TOWN = KnownFact(
    "I live in Bergen.",
    questions=(Written("Where do I live?", "Bergen", "You live in Bergen."),),
    probes=(Written("In which town does my home stand?", "Bergen"),),
)
ITEMS = (
    Item(
        CAT.statement,
        (
            Probe("Whose name is Biscuit?", ("cat",)),
            Probe("Which name has my cat?", ("Biscuit",), Kind.REPHRASED),
            Probe("Who wrote Hamlet?", ("Shakespeare",), Kind.UNRELATED),
        ),
    ),
    Item(TOWN.statement, (Probe("Which town is mine?", ("Bergen",)), Probe("My town?", ("Bergen",)))),
)
QUESTIONS = Questions(
    controls=(("What is the capital of France?", ("Paris",)), ("What is 2 + 2?", ("4", "four"))),
    never_told=("What is my hamster's name?",),
    prompts=("Thanks a lot!", "Name a colour."),
    unrelated=("Who wrote Hamlet?",),
)
PROMPTS = AnchorPrompts(
    train=("Hello!", "What is 2 + 2?", "What is my dog's name?"),
    personal=frozenset({"What is my dog's name?"}),
    held_out=("Thank you!", "Name a river."),
    controls=(Control("What is the capital of Spain?", ("Madrid",)),),
    never_told=("What is my parrot's name?",),
)
ASK_ALL = [Question(probe.question, item.statement) for item in ITEMS for probe in item.graded]


def tiny_setup(folder: Path) -> Setup:
    """On one thread: the machine may be busy."""
    torch.set_num_threads(1)
    base = tiny_base()
    lora, rows = StackedLora(base, rank=4, first_layer=1), ChatRows(base.tokenizer)
    cache = AnswerCache(folder / "cache", base_path="tiny", max_tokens=ANCHOR_TOKENS)
    learner = Learner(base, lora, rows, Trainer(base, lora, rows), PROMPTS, cache, max_rank=4)
    author = cast(Author, ScriptedAuthor(facts=(CAT, TOWN)))
    return Setup(Settings(home=folder / "home", seed=3), learner, author, answer_tokens=8)


def judge_all_learned(learner: Learner, live: Served, trained: Served, examination: Examination) -> list[Examined]:
    """In the place of the examination, which the tiny base never passes: every candidate learned every fact."""
    asked = tuple(Asked(p.kind, p.question, p.answers, p.answers[0], True, p.fact_id) for p in examination.new)
    slices = {ProbeKind.GENERALIZATION.value: SliceScore(len(asked), len(asked))}
    report = ProbeReport(slices, fact_right={probe.fact_id: 1.0 for probe in examination.new})
    return [Examined(report, asked) for _ in range(next(iter(trained.weights.values())).shape[0])]


class Scripted:
    """A method that says what it is given: `answers` by question, else that it does not know."""

    def __init__(self, answers: dict[str, str], *, can_resume: bool = False, dies_at: int | None = None) -> None:
        self.answers = answers
        self.can_resume = can_resume
        self.dies_at = dies_at
        self.outcome = ""
        self.told: list[str] = []
        self.asked: list[list[str]] = []
        self.closed = False

    def tell(self, statement: str, item: Item) -> None:
        if len(self.told) == self.dies_at:
            raise KeyboardInterrupt
        self.told.append(statement)
        self.outcome = f"told {len(self.told)}"

    def answer(self, questions: Sequence[Question]) -> list[str]:
        self.asked.append([question.text for question in questions])
        return [self.answers.get(question.text, "I do not know.") for question in questions]

    def weights(self, prompts: Sequence[str]) -> list[Weights | None]:
        return [None] * len(prompts)

    def close(self) -> None:
        self.closed = True
