"""Ask the author, through vLLM, to select facts, write notes and probes, and answer from a fact."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from engram.artifacts import digest_folder
from engram.vllm_client import BASE_NAME, EngineClient
from worker.author import tasks
from worker.author.dataset import load_examples, rows_of
from worker.author.train import ADAPTER_DIR

Given = TypeVar("Given")
Written = TypeVar("Written")

_MAX_TOKENS = {
    tasks.EXTRACT: 160,
    tasks.QA: 320,
    tasks.REWRITE: 160,
    tasks.IMPLY: 160,
    tasks.PROBE: 200,
    tasks.ANSWER: 24,
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; temperature 0 is greedy."""

    temperature: float = 0.0
    seed: int = 0


GREEDY = Sampling()


@dataclass(frozen=True)
class Author:
    """`model` is the author adapter's name in vLLM, or the base, which then gets examples in its prompt."""

    engine: EngineClient
    model: str
    shots: dict[str, list[dict[str, str]]] = field(default_factory=dict)

    def write(self, task: str, text: str, sampling: Sampling = GREEDY) -> str:
        """The author's raw output for a task."""
        system, user = tasks.prompt(task, text)
        return self.engine.chat(
            [system, *self.shots.get(task, []), user],
            model=self.model,
            max_tokens=_MAX_TOKENS[task],
            temperature=sampling.temperature,
            seed=sampling.seed,
        )

    def answer(self, statement: str, question: str) -> str:
        """A span of the statement that answers the question, or UNKNOWN."""
        return self.write(tasks.ANSWER, tasks.ask_answer(statement, question)).strip()


def open_author(engines: Sequence[EngineClient], *, fits: bool, folder: Path = ADAPTER_DIR) -> Author:
    """The author for this base: its adapter, loaded into every engine, or the base with examples.

    `fits` says whether the shipped adapter was trained for this base.
    """
    if not fits:
        return Author(engines[0], BASE_NAME, _few_shots())
    name = f"author-{digest_folder(folder)[:8]}"
    for engine in engines:
        engine.load(name, str(folder))
    return Author(engines[0], name)


def at_once(work: Callable[[Given], Written], given: Sequence[Given], *, threads: int = 12) -> list[Written]:
    """Run calls side by side, so that vLLM batches them; results in order."""
    with ThreadPoolExecutor(max(1, min(threads, len(given)))) as pool:
        return list(pool.map(work, given))


def _few_shots(count: int = 3) -> dict[str, list[dict[str, str]]]:
    shots: dict[str, list[dict[str, str]]] = {}
    for row in rows_of(load_examples(), seed=0):
        turns = shots.setdefault(row.task, [])
        if len(turns) < 2 * count:
            turns += [{"role": "user", "content": row.text}, {"role": "assistant", "content": row.target}]
    return shots
