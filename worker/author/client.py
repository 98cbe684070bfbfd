"""Ask the author, through vLLM, to select facts, write notes and probes, and answer from a fact."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, TypeVar

from engram.artifacts import digest_folder
from engram.vllm_client import BASE_NAME, EngineClient
from worker.author import tasks
from worker.author.dataset import load_examples, rows_of
from worker.author.tasks import Shots
from worker.author.train import ADAPTER_DIR
from worker.sentences import whole_words
from worker.spelling import respell_names

Given = TypeVar("Given")
Written = TypeVar("Written")

MAX_TOKENS = {
    tasks.EXTRACT: 160,
    tasks.DETAILS: 48,
    tasks.QA: 110,
    tasks.REWRITE: 110,
    tasks.IMPLY: 110,
    tasks.ANSWER: 24,
}


@dataclass(frozen=True, slots=True)
class Sampling:
    """How an answer is drawn; temperature 0 is greedy."""

    temperature: float = 0.0
    seed: int = 0


GREEDY = Sampling()


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to write: a task (`worker.author.tasks`) and the text it is about."""

    task: str
    text: str
    sampling: Sampling = GREEDY


class Author(Protocol):
    """Who writes: in vLLM beside the chats (`EngineAuthor`), or on the trainer's own base (`ResidentAuthor`)."""

    def write_all(self, jobs: Sequence[Job]) -> list[str]:
        """The raw output of each job, in order."""


def write_about(author: Author, jobs: Sequence[tuple[str, Job]]) -> list[str]:
    """The outputs of jobs, each given with the statement that it is about: names are spelt as that has them."""
    outputs = author.write_all([job for _, job in jobs])
    return [respell_names(output, statement) for output, (statement, _) in zip(outputs, jobs, strict=True)]


def find_answers(author: Author, pairs: Sequence[tuple[str, str]]) -> list[str]:
    """For each (statement, question) the span of the statement that answers it, in whole words, or UNKNOWN."""
    jobs = [(statement, Job(tasks.ANSWER, tasks.ask_answer(statement, question))) for statement, question in pairs]
    found = write_about(author, jobs)
    return [whole_words(statement, answer.strip()) for (statement, _), answer in zip(pairs, found, strict=True)]


@dataclass(frozen=True)
class EngineAuthor:
    """`model` is the author adapter's name in vLLM, or the base, which then gets examples in its prompt."""

    engine: EngineClient
    model: str
    shots: Shots = field(default_factory=dict)

    def write_all(self, jobs: Sequence[Job]) -> list[str]:
        return at_once(self._write, jobs)

    def _write(self, job: Job) -> str:
        return self.engine.chat(
            tasks.prompt(job.task, job.text, self.shots),
            model=self.model,
            max_tokens=MAX_TOKENS[job.task],
            temperature=job.sampling.temperature,
            seed=job.sampling.seed,
        )


def open_author(engines: Sequence[EngineClient], *, fits: bool, folder: Path = ADAPTER_DIR) -> EngineAuthor:
    """The author for this base: its adapter, loaded into every engine, or the base with examples.

    `fits` says whether the shipped adapter was trained for this base.
    """
    if not fits:
        return EngineAuthor(engines[0], BASE_NAME, few_shots())
    name = f"author-{digest_folder(folder)[:8]}"
    for engine in engines:
        engine.load(name, str(folder))
    return EngineAuthor(engines[0], name)


def at_once(work: Callable[[Given], Written], given: Sequence[Given], *, threads: int = 12) -> list[Written]:
    """Run calls side by side, so that vLLM batches them; results in order."""
    with ThreadPoolExecutor(max(1, min(threads, len(given)))) as pool:
        return list(pool.map(work, given))


def few_shots(count: int = 3) -> Shots:
    """Some examples of each task, as chat turns, for a base without an author adapter."""
    shots: dict[str, list[dict[str, str]]] = {}
    for row in rows_of(load_examples(), seed=0):
        turns = shots.setdefault(row.task, [])
        if len(turns) < 2 * count:
            turns += [{"role": "user", "content": row.text}, {"role": "assistant", "content": row.target}]
    return shots
