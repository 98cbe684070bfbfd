"""Tell a method the stream, ask it, and keep what it said. What is kept is computed with elsewhere."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.stream.datasets import Item
from evals.stream.methods.last_third import LastThird
from evals.stream.methods.product import Product
from evals.stream.methods.protocol import Method, Question
from evals.stream.methods.seal import Seal
from evals.stream.methods.untrained import Base, InContext
from evals.stream.model import Setup
from evals.stream.records import Ended, Records, Told
from evals.stream.reference import Reference

METHODS: dict[str, Callable[[Setup, Path], Method]] = {
    "engram": lambda setup, folder: Product(setup, folder / "home"),
    "base": lambda setup, folder: Base(setup),
    "in-context": lambda setup, folder: InContext(setup),
    "seal": lambda setup, folder: Seal(setup),
    "last-third": lambda setup, folder: LastThird(setup),
}


def run_method(
    open_method: Callable[[], Method],
    items: Sequence[Item],
    reference: Reference,
    records: Records,
    *,
    asked_after: Sequence[int],
    on_fact: Callable[[Told], None] = lambda told: None,
) -> tuple[list[Told], Ended]:
    """Tell all facts that are not on record, and ask. `asked_after`: numbers of facts told after which all are asked.

    `on_fact` is called for each fact, also for those on record.
    """
    told, ended = records.told(), records.ended()
    if ended:
        for one in told:
            on_fact(one)
        return told, ended
    method = open_method()
    try:
        if told and not method.can_resume:
            records.clear()
            told = []
        for one in told:
            on_fact(one)
        for fact in range(len(told), len(items)):
            whom = range(fact + 1) if fact + 1 in asked_after else [fact]
            one = tell(method, items, fact, ask_about=whom)
            records.add(one)
            told.append(one)
            on_fact(one)
        ended = ask_what_must_not_change(method, items, reference)
    finally:
        method.close()
    records.end(ended)
    return told, ended


def tell(method: Method, items: Sequence[Item], fact: int, *, ask_about: Sequence[int]) -> Told:
    """Tell one fact, then ask the graded probes of some, in one batch."""
    started = time.monotonic()
    method.tell(items[fact].statement, items[fact])
    seconds = time.monotonic() - started
    questions = [[Question(p.question, items[i].statement) for p in items[i].graded] for i in ask_about]
    answers = iter(method.answer([question for own in questions for question in own]))
    said = {i: [next(answers) for _ in own] for i, own in zip(ask_about, questions, strict=True)}
    return Told(fact, seconds, method.outcome, said)


def ask_what_must_not_change(method: Method, items: Sequence[Item], reference: Reference) -> Ended:
    """Controls, what was never told and unrelated questions, in the batches in which the base was asked them."""
    questions = reference.questions
    unrelated = [Question(probe.question, item.statement) for item in items for probe in item.unrelated]
    return Ended(
        controls=method.answer([Question(question) for question, _ in questions.controls]),
        never_told=method.answer([Question(question) for question in questions.never_told]),
        unrelated=method.answer(unrelated),
        kl=reference.kl(method.weights()),
    )
