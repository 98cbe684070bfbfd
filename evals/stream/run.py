"""Tell a method the stream, ask it, and keep what it said. What is kept is computed with elsewhere."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from evals.stream.datasets import Item
from evals.stream.methods.last_third import LastThird
from evals.stream.methods.product import Product
from evals.stream.methods.protocol import Method, Question
from evals.stream.methods.retrieval import Retrieval
from evals.stream.methods.seal import Seal
from evals.stream.methods.untrained import Base, InContext
from evals.stream.model import Setup
from evals.stream.plan import Plan
from evals.stream.records import Besides, Records, Told
from evals.stream.reference import Reference

METHODS: dict[str, Callable[[Setup, Path], Method]] = {
    "engram": lambda setup, folder: Product(setup, folder / "home"),
    "base": lambda setup, folder: Base(setup),
    "in-context": lambda setup, folder: InContext(setup),
    "retrieval": lambda setup, folder: Retrieval(setup, folder / "statements.jsonl"),
    "seal": lambda setup, folder: Seal(setup),
    "last-third": lambda setup, folder: LastThird(setup),
}


def run_method(
    open_method: Callable[[], Method],
    plan: Plan,
    reference: Reference,
    records: Records,
    *,
    on_fact: Callable[[Told], None] = lambda told: None,
) -> tuple[list[Told], Besides]:
    """Tell all facts that are not on record, and ask. Returns what each fact led to, and what was asked at the end.

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
        for fact in range(len(told), len(plan.items)):
            one = tell(method, plan, fact, reference)
            records.add(one)
            told.append(one)
            on_fact(one)
        ended = ask_besides(method, plan.items, reference)
    finally:
        method.close()
    records.end(ended)
    return told, ended


def tell(method: Method, plan: Plan, fact: int, reference: Reference) -> Told:
    """Tell one fact, then ask what is planned for after it."""
    item = plan.items[fact]
    started = time.monotonic()
    method.tell(item.statement, item)
    seconds = time.monotonic() - started
    said = ask_about(method, plan.items, plan.asked[fact])
    besides = ask_besides(method, plan.items, reference) if fact in plan.besides_after else None
    return Told(fact, seconds, method.outcome, said, besides)


def ask_about(method: Method, items: Sequence[Item], which: Sequence[int]) -> dict[int, list[str]]:
    """The answers to the graded probes of some items, asked in one batch."""
    questions = [[Question(probe.question, items[i].statement) for probe in items[i].graded] for i in which]
    answers = iter(method.answer([question for own in questions for question in own]))
    return {i: [next(answers) for _ in own] for i, own in zip(which, questions, strict=True)}


def ask_besides(method: Method, items: Sequence[Item], reference: Reference) -> Besides:
    """Controls, what was never told and unrelated questions, in the batches in which the base was asked them."""
    questions = reference.questions
    unrelated = [Question(probe.question, item.statement) for item in items for probe in item.unrelated]
    return Besides(
        controls=method.answer([Question(question) for question, _ in questions.controls]),
        never_told=method.answer([Question(question) for question in questions.never_told]),
        unrelated=method.answer(unrelated),
        kl=reference.kl(method),
    )
