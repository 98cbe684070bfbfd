"""Ask versions as they are served: within their scope the shard that was taught answers, outside of it the base."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engram.db import Database
from engram.repositories import AdapterRepository
from engram.routing import BASE_VERSION, OWN_SHARD
from scope import decision
from scope.decision import Scope
from worker.learner import Learner
from worker.training.stacked_lora import Weights


def _no_shard(version: int) -> Weights:
    raise LookupError(f"version {version} is not one of its shards")


@dataclass(frozen=True, slots=True)
class Served:
    """Stacked weights of C versions or candidates that share one scope; with None they answer everything.

    `shard` reads the weights of an earlier version that they answer with too. `version` is the number of a published
    one.
    """

    weights: Weights
    scope: Scope | None = None
    shard: Callable[[int], Weights] = _no_shard
    version: int = BASE_VERSION

    def weights_of(self, shard: int) -> Weights:
        return self.weights if shard == OWN_SHARD else self.shard(shard)


def read_served(learner: Learner, database: Database, space_id: str, version: int) -> Served:
    """A published version from its files."""
    folder = _folder(database, space_id, version)
    return Served(learner.lora.load(folder), decision.load(folder), read_shards(learner, database, space_id), version)


def read_scope(database: Database, space_id: str, version: int) -> Scope | None:
    """A published version's scope; the base, as a version, has none."""
    return None if version == BASE_VERSION else decision.load(_folder(database, space_id, version))


def read_shards(learner: Learner, database: Database, space_id: str) -> Callable[[int], Weights]:
    """What reads the weights of any version of a space."""

    def read(version: int) -> Weights:
        return learner.lora.load(_folder(database, space_id, version))

    return read


def _folder(database: Database, space_id: str, version: int) -> Path:
    with database.read() as session:
        return Path(AdapterRepository(session).get(space_id, version).path)


def save_served(learner: Learner, served: Served, candidate: int, folder: Path) -> None:
    """Write candidate number `candidate` as a version's files."""
    learner.lora.save(served.weights, candidate, folder)
    if served.scope:
        served.scope.save(folder)


def answer_as_served(learner: Learner, questions: Sequence[str], *served: Served) -> list[list[str]]:
    """Free greedy answers, [version][question], in the order of all weights.

    All weights of one version are asked in one batch what it answers itself; then each other shard, and the base.
    Versions are asked apart: what one has not learned it goes on about until it is cut off.
    """
    answering = [learner.answering(questions, one.scope) for one in served]
    outside = [number for number in range(len(questions)) if any(own[number] is None for own in answering)]
    base = dict(zip(outside, learner.base_answers([questions[number] for number in outside]), strict=True))
    rows: list[list[str]] = []
    for own, one in zip(answering, served, strict=True):
        known = {**base, **_from_shards(learner, questions, own, one)}
        inside = [number for number, shard in enumerate(own) if shard == OWN_SHARD]
        count = next(iter(one.weights.values())).shape[0]
        said = learner.answer([questions[number] for number in inside], one.weights) if inside else [[]] * count
        rows += [_in_order({**known, **dict(zip(inside, itself, strict=True))}, len(questions)) for itself in said]
    return rows


def answered_by(learner: Learner, questions: Sequence[str], served: Served) -> list[int | None]:
    """The version whose weights answer each question, None for the base: a shard is an earlier version's."""
    answering = learner.answering(questions, served.scope)
    return [served.version if shard == OWN_SHARD else shard for shard in answering]


def _in_order(answers: Mapping[int, str], count: int) -> list[str]:
    return [answers[number] for number in range(count)]


def _from_shards(
    learner: Learner, questions: Sequence[str], answering: Sequence[int | None], served: Served
) -> dict[int, str]:
    """Answers of a version's other shards, by the number of the question."""
    answers: dict[int, str] = {}
    for shard in sorted({shard for shard in answering if shard is not None} - {OWN_SHARD}):
        numbers = [number for number, own in enumerate(answering) if own == shard]
        said = learner.answer([questions[number] for number in numbers], served.shard(shard))[0]
        answers.update(zip(numbers, said, strict=True))
    return answers
