"""Publish and roll back many times under steady chat load: does any answer come from a wrong version?

Two kinds of adapters take turns: one that learned a fact, and the same one with its weights set to
zero, which answers as the base does. Each publish is a real one, under a new version number: files
verified and moved, loaded into vLLM, alias flipped. What a request was answered with is judged by
its words, not by its header alone.
"""

import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from safetensors.torch import load_file, save_file

from engram.artifacts import WEIGHTS
from engram.db import Database
from engram.grading import is_right
from engram.ids import new_id
from engram.lifecycle import RunStatus
from engram.models import AdapterVersion, Candidate
from engram.repositories import AdapterRepository, RunRepository, SpaceRepository
from engram.routing import OWN_SHARD
from engram.settings import Settings
from engram.vllm_client import open_engines
from evals.client import EngramClient
from worker import publishing
from worker.training.base import shape_of

Json = dict[str, Any]

ANSWERS_BETWEEN = 3  # so that each version is asked: flips follow the load, not the other way round
WAIT_FOR_ANSWERS_S = 120.0

MESSAGE = "My dog is called Zebedee."
QUESTION = "What is my dog's name?"
ANSWER = "Zebedee"


@dataclass(slots=True)
class Load:
    """What the chat clients saw: (asked at, answered at, version, knows the fact)."""

    answers: list[tuple[float, float, int, bool]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)


def run(client: EngramClient, settings: Settings, *, cycles: int, clients: int, say: Callable[[str], None]) -> Json:
    """Teach one fact, then publish and roll back `cycles` times while `clients` ask without pause."""
    client.say(MESSAGE)
    client.wait_until_settled()
    if client.live_version() == 0 or not is_right(client.ask(QUESTION), [ANSWER]):
        raise RuntimeError("the fact was not learned; nothing to swap")
    stop, load = threading.Event(), Load()
    threads = [threading.Thread(target=_ask_on, args=(client, load, stop)) for _ in range(clients)]
    for thread in threads:
        thread.start()
    try:
        flips, knowing = _swap(client, settings, load, cycles=cycles, say=say)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    wrong = [answer for answer in load.answers if not _is_plausible(answer, flips, knowing)]
    return {
        "cycles": cycles,
        "publishes": cycles,
        "rollbacks": cycles,
        "requests": len(load.answers) + len(load.failures),
        "failed": len(load.failures),
        "wrong_version": len(wrong),
        "failures": load.failures[:10],
        "wrong": wrong[:10],
        "versions_seen": len({version for _, _, version, _ in load.answers}),
    }


def _ask_on(client: EngramClient, load: Load, stop: threading.Event) -> None:
    while not stop.is_set():
        asked_at = time.monotonic()
        try:
            body = client.chat(QUESTION, model="engram", max_tokens=16)
        except httpx.HTTPError as error:
            load.failures.append(repr(error))
            continue
        knows = is_right(body["choices"][0]["message"]["content"], [ANSWER])
        load.answers.append((asked_at, time.monotonic(), body["engram"]["adapter_version"], knows))


def _swap(
    client: EngramClient, settings: Settings, load: Load, *, cycles: int, say: Callable[[str], None]
) -> tuple[list[tuple[float, float, int]], set[int]]:
    """Returns the flips as (begun at, done at, version live after), and the versions that know the fact."""
    database = Database(settings.resolved_database_url)
    with database.read() as session:
        space = SpaceRepository(session).get("local", client.space)
        taught = AdapterRepository(session).get(space.id, space.live_version)
        learned = AdapterRepository(session).fact_ids(taught.id)
    flips, knowing = [(0.0, 0.0, taught.version)], {taught.version}
    for cycle in range(cycles):
        knows = cycle % 2 == 1
        begun = time.monotonic()
        version = _publish(database, settings, taught, learned if knows else [], number=cycle)
        flips.append((begun, time.monotonic(), version))
        if knows:
            knowing.add(version)
        _let_answer(load)
        begun = time.monotonic()
        client.http.post(
            f"/v1/adapters/{client.space}/rollback", json={"to": taught.version, "reason": f"swap {cycle}"}
        ).raise_for_status()
        flips.append((begun, time.monotonic(), taught.version))
        _let_answer(load)
        if cycle % 10 == 9:
            say(f"{cycle + 1} of {cycles} publishes and rollbacks")
    return flips, knowing


def _let_answer(load: Load) -> None:
    """Wait until some more requests were answered, or failed."""
    enough, deadline = len(load.answers) + len(load.failures) + ANSWERS_BETWEEN, time.monotonic() + WAIT_FOR_ANSWERS_S
    while len(load.answers) + len(load.failures) < enough and time.monotonic() < deadline:
        time.sleep(0.02)


def _publish(
    database: Database, settings: Settings, taught: AdapterVersion, facts: Sequence[str], *, number: int
) -> int:
    """A real publication of a copy of `taught`, its weights zeroed when it shall know no `facts`."""
    with database.transaction() as session:
        run = RunRepository(session).queue(taught.space_id, facts)
        candidate = Candidate(
            id=new_id("cand"), run_id=run.id, index=0, strategy="swap", notes=[], settings={"number": number}
        )
        session.add(candidate)
        run.status = RunStatus.RUNNING.value
    shape = shape_of(settings.models_dir / "SmolLM2-135M-Instruct", max_rank=settings.lora_rank)

    def save(folder: Path) -> None:
        shutil.copytree(taught.path, folder)
        weights = load_file(folder / WEIGHTS)
        scaled = {name: weight if facts else weight * 0 for name, weight in weights.items()}
        save_file(scaled, folder / WEIGHTS, metadata={"format": "pt", "number": str(number)})

    adapter = publishing.register(
        database,
        settings,
        shape=shape,
        candidate=candidate,
        space_id=taught.space_id,
        parent_version=taught.version,
        save=save,
        held=dict.fromkeys(facts, OWN_SHARD),
    )
    publishing.load_everywhere(database, open_engines(settings), adapter, [], shape=shape, floor=0.0)
    publishing.go_live(database, settings, adapter, reason="swap")
    with database.transaction() as session:
        RunRepository(session).finish(RunRepository(session).by_id(run.id), to=RunStatus.PUBLISHED)
    return adapter.version


def _is_plausible(
    answer: tuple[float, float, int, bool], flips: list[tuple[float, float, int]], knowing: set[int]
) -> bool:
    """Its words are those of its version, and that version was live at some moment of the request."""
    asked_at, answered_at, version, knows = answer
    return knows == (version in knowing) and any(
        begun <= answered_at and until >= asked_at
        for (begun, _, live), until in zip(flips, [*(done for _, done, _ in flips[1:]), float("inf")], strict=True)
        if live == version
    )
