"""Told once, remembered later: say facts in chat, let Engram learn them, ask in new conversations.

Everything goes through the public API. Answers come from weights alone: no fact is in any prompt.
Probes and messages of `data/` are never trained on, and share no name, value or sentence frame
with the author's training data (`tests/unit/test_author_data.py`).
"""

import json
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engram.grading import is_right, normalise, recalls
from evals.client import EngramClient

DATA = Path(__file__).parent / "data"
FACTS = DATA / "told_once.jsonl"

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """`path`: rows in the format of `data/told_once.jsonl`. `batch`: facts told before waiting for them to be
    learned; 1 is one after another."""

    path: Path = FACTS
    num_facts: int = 40
    batch: int = 1


@dataclass(slots=True)
class Told:
    """What became of one fact."""

    item: Json
    stored: list[str]
    whole: bool
    status: list[str]
    seconds_to_live: float | None
    answers: list[str]
    right: list[bool]


def run(client: EngramClient, chatter: EngramClient, options: Options, say: Callable[[str], None]) -> Json:
    """Measure everything of the issue's table but the swaps. Returns the figures and every answer."""
    items = read(options.path)[: options.num_facts]
    controls = read(DATA / "controls.jsonl")
    base_answers = client.ask_all([control["question"] for control in controls], model="base")
    known = [c for c, answer in zip(controls, base_answers, strict=True) if is_right(answer, golds(c))]
    say(f"the base answers {len(known)} of {len(controls)} controls")
    told: list[Told] = []
    for start in range(0, len(items), options.batch):
        told += tell(client, items[start : start + options.batch], say)
    final = [ask_probes(client, one.item) for one in told]
    kept = client.ask_all([control["question"] for control in known], model="engram")
    never = [row["question"] for row in read(DATA / "false_recall.jsonl")]
    recalled = false_recalls(never, client.ask_all(never), client.ask_all(never, model="base"), items)
    noise = measure_chatter(chatter, say)  # last: what it puts in the ledger by mistake would be learned meanwhile
    return report(told, final, controls=(known, kept), noise=noise, false_recall=(recalled, len(never)))


def tell(client: EngramClient, items: Sequence[Json], say: Callable[[str], None]) -> list[Told]:
    """State the items, wait until each is live or refused, then ask their probes."""
    before = {fact["id"] for fact in client.facts()}
    started = time.monotonic()
    for item in items:
        client.say(item["message"])
    client.wait_until_settled()
    seconds = time.monotonic() - started
    new = [fact for fact in client.facts() if fact["id"] not in before]
    told = []
    for item in items:
        own = [fact for fact in new if normalise(fact["statement"]) and fact["statement"] in item["message"]]
        answers, right = ask_probes(client, item)
        live = bool(own) and all(fact["status"] == "live" for fact in own)
        told.append(
            Told(
                item=item,
                stored=[fact["statement"] for fact in own],
                whole=is_whole([fact["statement"] for fact in own], item),
                status=[fact["status"] for fact in own],
                seconds_to_live=seconds if live and len(items) == 1 else None,
                answers=answers,
                right=right,
            )
        )
        say(f"{item['id']} whole={told[-1].whole} {told[-1].status} {sum(right)}/{len(right)} {seconds:.0f} s")
    return told


def ask_probes(client: EngramClient, item: Json) -> tuple[list[str], list[bool]]:
    answers = client.ask_all([probe["question"] for probe in item["probes"]])
    return answers, [is_right(a, golds(probe)) for a, probe in zip(answers, item["probes"], strict=True)]


def is_whole(statements: Sequence[str], item: Json) -> bool:
    """One stored statement holds every required detail, and none holds the message's filler."""
    holds_all = any(all(is_right(statement, [need]) for need in item["required"]) for statement in statements)
    holds_filler = any(filler.lower() in statement.lower() for statement in statements for filler in item["filler"])
    return holds_all and not holds_filler


def measure_chatter(client: EngramClient, say: Callable[[str], None]) -> Json:
    """Say messages without facts; count those that put one in the ledger."""
    messages = [row["message"] for row in read(DATA / "chatter.jsonl")]
    for message in messages:
        client.say(message)
    client.wait_until_read(timeout_s=600)
    stored = [fact["statement"] for fact in client.facts() if fact["status"] != "rejected"]
    fooled = [message for message in messages if any(statement in message for statement in stored)]
    say(f"{len(fooled)} of {len(messages)} chatter messages put a fact in the ledger")
    return {"messages": len(messages), "stored": len(fooled), "which": fooled}


def false_recalls(
    questions: Sequence[str], answers: Sequence[str], base_answers: Sequence[str], items: Sequence[Json]
) -> list[str]:
    """Never-told questions answered with something that was told and that the base would not have said."""
    known = [gold for item in items for probe in item["probes"] for gold in golds(probe)]
    return [
        f"{question} -> {answer}"
        for question, answer, base in zip(questions, answers, base_answers, strict=True)
        if recalls(answer, base, known)
    ]


def report(
    told: Sequence[Told],
    final: Sequence[tuple[list[str], list[bool]]],
    *,
    controls: tuple[Sequence[Json], Sequence[str]],
    noise: Json,
    false_recall: tuple[Sequence[str], int],
) -> Json:
    """The figures as shares of 0 to 1 and seconds, with every answer behind them."""
    (known, kept), (recalled, num_never) = controls, false_recall
    seconds = [one.seconds_to_live for one in told if one.seconds_to_live is not None]
    immediate = [right for one in told for right in one.right]
    at_end = [right for _, rights in final for right in rights]
    still = [is_right(answer, golds(control)) for control, answer in zip(known, kept, strict=True)]
    return {
        "facts": len(told),
        "extracted_whole": _share([one.whole for one in told]),
        "recall_immediate": _share(immediate),
        "recall_final": _share(at_end),
        "controls_kept": _share(still),
        "controls_known": len(known),
        "chatter_stored": noise["stored"] / noise["messages"],
        "false_recall": len(recalled) / num_never,
        "seconds_to_live_median": statistics.median(seconds) if seconds else None,
        "seconds_to_live_max": max(seconds, default=None),
        "details": {
            "told": [_row(one, end) for one, end in zip(told, final, strict=True)],
            "controls_lost": [
                f"{control['question']} -> {answer}"
                for control, answer, right in zip(known, kept, still, strict=True)
                if not right
            ],
            "chatter": noise["which"],
            "false_recalls": list(recalled),
        },
    }


def read(path: Path) -> list[Json]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def golds(probe: Json) -> list[str]:
    return [probe["answer"], *probe.get("aliases", [])]


def _row(one: Told, end: tuple[list[str], list[bool]]) -> Json:
    return {
        "id": one.item["id"],
        "message": one.item["message"],
        "stored": one.stored,
        "whole": one.whole,
        "status": one.status,
        "seconds": one.seconds_to_live,
        "probes": [
            {"question": probe["question"], "gold": probe["answer"], "right": right, "answer": answer, "final": final}
            for probe, right, answer, final in zip(one.item["probes"], one.right, one.answers, end[1], strict=True)
        ],
    }


def _share(flags: Sequence[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0
