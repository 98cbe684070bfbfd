"""Time what a user of a running Engram waits for: a statement to be learned, a chat answer while it learns.

Statements are this file's own; none is in `evals/data` or in the author's examples (a test looks).
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import httpx
import psutil

from evals.bench.figures import Figure, p95
from evals.client import POLL_S, EngramClient

STATEMENTS = (
    "My parrot is called Ptolemy.",
    "I work as a bookbinder in Lucerne.",
    "Taleggio is the cheese that I like best of all.",
    "My cousin Ottoline plays the theremin.",
    "Ljubljana is the town where I came into the world.",
)
STATEMENTS_DURING_CHAT = (
    "My horse is called Bucephalus.",
    "My piano teacher is Mrs Wetherby.",
    "I drive a turquoise Lancia.",
    "My uncle Leopold lives in Gdansk.",
    "My favourite flower is the gentian.",
)
CHATS = ("What is the capital of Italy?", "Name a colour.", "How many legs has a spider?", "Say hello in French.")
CHAT_TOKENS = 16
# The base's messages are never read for facts: with others, the idle side would carry the extraction of its own chat.
CHAT_MODEL = "base"
IDLE_REQUESTS = 40
# Of fewer answers a 95th percentile says nothing.
FEWEST_REQUESTS = 20
WARMING_REQUESTS = 5
PAUSE_AFTER_FAILURE_S = 0.5
# A worker that is ready computes for some minutes what runs would wait for.
IDLE_SHARE, IDLE_FOR_S, IDLE_TIMEOUT_S = 0.2, 4.0, 600.0
START_TIMEOUT_S = 120.0


@dataclass(slots=True)
class Chat:
    """What one client without pause saw: (answered at, seconds it took), and how many requests failed."""

    answers: list[tuple[float, float]] = field(default_factory=list)
    failed: int = 0

    def seconds_until(self, moment: float) -> list[float]:
        """Latencies of the requests that were answered by then."""
        return [seconds for answered_at, seconds in self.answers if answered_at <= moment]


def wait_until_idle(*, say: Callable[[str], None], timeout_s: float = IDLE_TIMEOUT_S) -> bool:
    """Wait until the machine's cores have nothing to do. False where something else keeps them busy."""
    deadline, waited = time.monotonic() + timeout_s, False
    while psutil.cpu_percent(interval=IDLE_FOR_S) > 100 * IDLE_SHARE:
        if time.monotonic() > deadline:
            say(f"the machine is still busy after {timeout_s:.0f} s: what follows is measured beside something else")
            return False
        if not waited:
            say("waiting until the machine is idle")
            waited = True
    return True


def statement_to_live(client: EngramClient, *, say: Callable[[str], None]) -> Figure:
    """Seconds from saying each of five statements to its being live, one after another; tries again included.

    One that never is gives no sample; `not_live` counts these.
    """
    seconds, told = [], []
    for number, message in enumerate(STATEMENTS, start=1):
        begun = time.monotonic()
        client.say(message)
        with suppress(TimeoutError):
            client.wait_until_settled()
        took = time.monotonic() - begun
        status = [fact["status"] for fact in client.facts() if fact["statement"] in message]
        if status and set(status) == {"live"}:
            seconds.append(took)
        told.append({"message": message, "status": status, "seconds": took})
        say(f"statement {number} of {len(STATEMENTS)}: {', '.join(status) or 'not extracted'} after {took:.1f} s")
    if not seconds:
        raise RuntimeError(f"none of {len(STATEMENTS)} statements became live: {told}")
    not_live = len(STATEMENTS) - len(seconds)
    if not_live:
        say(f"{not_live} of {len(STATEMENTS)} statements never became live: the median leaves them out")
    return Figure(seconds, {"statements": told, "not_live": not_live})


def chat_p95_ratio(client: EngramClient, *, repeats: int, say: Callable[[str], None]) -> Figure:
    """p95 of one client's latencies while a statement is learned over p95 before it, one statement a repeat.

    At most as many repeats as there are statements: one that was said before is not learned again.
    """
    _chat_idly(client, WARMING_REQUESTS)
    ratios, rounds = [], []
    for message in STATEMENTS_DURING_CHAT[:repeats]:
        idle = _chat_idly(client, IDLE_REQUESTS)
        busy, failed = _chat_while_learning(client, message)
        one = {"message": message, "idle_s": idle, "learning_s": busy, "failed": failed}
        rounds.append(one)
        if len(busy) < FEWEST_REQUESTS:
            say(f"chat: only {len(busy)} answers while learning {message!r}; left out")
            continue
        ratios.append(p95(busy) / p95(idle))
        learning = f"{p95(busy):.2f} s while learning ({len(busy)}), {failed} failed"
        say(f"chat: p95 {p95(idle):.2f} s idle ({len(idle)}), {learning}")
    if not ratios:
        raise RuntimeError(f"no statement was learned long enough to chat beside it: {rounds}")
    return Figure(ratios, {"rounds": rounds, "model": CHAT_MODEL, "max_tokens": CHAT_TOKENS})


def _chat_idly(client: EngramClient, count: int) -> list[float]:
    return [_chat_once(client, number) for number in range(count)]


def _chat_while_learning(client: EngramClient, message: str) -> tuple[list[float], int]:
    """Latencies in seconds from when a run was seen running until the statement was settled, and failed requests."""
    client.say(message)
    client.wait_until_read()
    if not _wait_until_learning(client):
        return [], 0
    stop, chat = threading.Event(), Chat()
    thread = threading.Thread(target=_chat_on, args=(client, chat, stop))
    thread.start()
    try:
        client.wait_until_settled()
        settled_at = time.monotonic()
    finally:
        stop.set()
        thread.join()
    return chat.seconds_until(settled_at), chat.failed


def _wait_until_learning(client: EngramClient) -> bool:
    """Whether a run began; False if the statement left nothing to learn. Raises TimeoutError."""
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline:
        if any(run["status"] == "running" for run in client.runs()):
            return True
        if not any(fact["status"] in ("pending", "learning") for fact in client.facts()):
            return False
        time.sleep(POLL_S)
    raise TimeoutError(f"no run began within {START_TIMEOUT_S:.0f} s")


def _chat_on(client: EngramClient, chat: Chat, stop: threading.Event) -> None:
    number = 0
    while not stop.is_set():
        try:
            seconds = _chat_once(client, number)
        except httpx.HTTPError:
            chat.failed += 1
            stop.wait(PAUSE_AFTER_FAILURE_S)
        else:
            chat.answers.append((time.monotonic(), seconds))
        number += 1


def _chat_once(client: EngramClient, number: int) -> float:
    begun = time.monotonic()
    client.chat(CHATS[number % len(CHATS)], model=CHAT_MODEL, max_tokens=CHAT_TOKENS)
    return time.monotonic() - begun
