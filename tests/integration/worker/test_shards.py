"""A LoRA holds so many facts; the next fact begins another one. Versions answer with all of them."""

from pathlib import Path

import pytest
import torch

from engram.artifacts import SCOPE, verify
from engram.lifecycle import AdapterStatus, FactStatus, RunKind, RunStatus, advance_fact
from engram.repositories import AdapterRepository, FactRepository
from scope import decision
from scope.encoder import open_encoder
from tests.fakes.author import KnownFact
from tests.integration.worker.conftest import CAT, NEW_TOWN, TOWN, Flow
from worker.author.tasks import Question
from worker.training.stacked_lora import Weights
from worker.training.trainer import Trainer

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

JOB = KnownFact(
    "I work as a welder.",
    questions=(Question("What do I work as?", "welder", "You work as a welder."),),
    probes=(Question("By which trade do I earn my bread?", "welder"),),
)

BIKE = KnownFact(
    "My bike is orange.",
    questions=(Question("Which colour is my bike?", "orange", "Your bike is orange."),),
    probes=(Question("In what hue was my bicycle painted?", "orange"),),
)


GOALKEEPER = KnownFact(
    "Guy Moussi plays as goalkeeper.",
    questions=(
        Question("What does Guy Moussi play as?", "goalkeeper", "Guy Moussi plays as goalkeeper."),
        Question("Which position does Guy Moussi have?", "goalkeeper", "Guy Moussi plays as goalkeeper."),
    ),
    probes=(Question("Where on the field is Guy Moussi?", "goalkeeper"),),
)


MOVED = KnownFact(
    "We moved, so Trondheim is our home.",
    questions=(Question("Which city did we settle in?", "Trondheim", "Trondheim is your home."),),
    probes=(Question("Where is our place?", "Trondheim"),),
)


@pytest.fixture(autouse=True)
def _one_fact_a_shard(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow.settings, "facts_per_shard", 1)
    flow.author.facts = (*flow.author.facts, JOB, BIKE, GOALKEEPER, MOVED)
    flow.engine.answer = f"{flow.engine.answer} the welder in orange, a goalkeeper in Trondheim"


def _tell(flow: Flow, *facts: KnownFact) -> list[str]:
    """Learn facts one after another; their ids."""
    ids = []
    for fact in facts:
        ids += flow.state(fact)
        assert flow.learn().status == RunStatus.PUBLISHED
    return ids


def _held(flow: Flow, version: int) -> dict[str, int]:
    with flow.database.read() as session:
        return AdapterRepository(session).held(AdapterRepository(session).get(flow.space.id, version).id)


def _weights(flow: Flow, version: int) -> Weights:
    return flow.pipeline.learner.lora.load(Path(flow.adapters()[version - 1].path))


def _answering(flow: Flow, version: int, *questions: str) -> list[int | None]:
    scope = decision.load(Path(flow.adapters()[version - 1].path))
    assert scope is not None
    return scope.answering(questions, open_encoder().encode(questions), min_margin=flow.settings.scope_min_margin)


def _questions(fact: KnownFact) -> list[str]:
    return [question.question for question in fact.questions]


def test_fact_for_which_there_is_no_room_begins_a_shard_from_the_base(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat, town = _tell(flow, CAT, TOWN)
    assert (_held(flow, 1), _held(flow, 2)) == ({cat: 1}, {cat: 1, town: 2})
    assert _answering(flow, 2, *_questions(CAT), *_questions(TOWN)) == [1, 1, 0]
    started: list[bool] = []
    train = Trainer.train

    def watched(trainer: Trainer, initial: dict[str, object], *args: object, **options: object) -> object:
        started.append(all(not tensor.any() for name, tensor in initial.items() if name.endswith(".B")))  # type: ignore[attr-defined]
        assert options["rehearsal"] == []
        return train(trainer, initial, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train", watched)
    (job,) = _tell(flow, JOB)
    assert started == [True]
    assert _held(flow, 3) == {cat: 1, town: 2, job: 3}
    assert _answering(flow, 3, *_questions(CAT), *_questions(TOWN), *_questions(JOB)) == [1, 1, 2, 0]


def test_fact_goes_to_the_newest_shard_that_has_room(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    cat, town = _tell(flow, CAT, TOWN)
    monkeypatch.setattr(flow.settings, "facts_per_shard", 2)
    (job,) = _tell(flow, JOB)
    assert _held(flow, 3) == {cat: 1, town: 3, job: 3}
    assert _answering(flow, 3, *_questions(TOWN), *_questions(JOB)) == [0, 0]


def test_question_with_another_name_is_not_answered_now_nor_once_other_facts_are_learned(flow: Flow) -> None:
    asked = ("What does Guy Moussi play as?", "What does Igor Netto play as?", "what does he play as?")
    _tell(flow, GOALKEEPER)
    assert _answering(flow, 1, *asked) == [0, None, 0]
    _tell(flow, JOB)
    assert _answering(flow, 2, *asked) == [1, None, 1]


def test_told_change_replaces_the_fact_that_it_makes_untrue_though_no_word_is_the_same(flow: Flow) -> None:
    cat, town = _tell(flow, CAT, TOWN)
    (moved,) = _tell(flow, MOVED)
    assert [flow.fact(fact).status for fact in (cat, town)] == [FactStatus.LIVE, FactStatus.SUPERSEDED]
    assert _held(flow, 3) == {cat: 1, moved: 3}


def test_every_replica_is_given_the_shards_of_a_version_too(flow: Flow) -> None:
    _tell(flow, CAT, TOWN)
    first, second = flow.adapters()
    flow.engine.adapters.clear()
    _tell(flow, JOB)
    third = flow.adapters()[2]
    assert set(flow.engine.adapters) == {first.lora_name, second.lora_name, third.lora_name}
    with flow.database.read() as session:
        hot = AdapterRepository(session).hot(keep=0)
    assert {one.version for one in hot} == {1, 2, 3}


def test_forgetting_trains_only_the_shard_that_held_the_fact(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow.settings, "facts_per_shard", 2)
    cat, town, job = _tell(flow, CAT, TOWN, JOB)
    assert _held(flow, 3) == {cat: 2, town: 2, job: 3}
    flow.delete(cat)
    flow.worker.learn(flow.space.id)
    assert [(run.kind, run.status) for run in flow.runs()][3:] == [(RunKind.REBUILD, RunStatus.PUBLISHED)]
    assert flow.fact(cat).status == FactStatus.FORGOTTEN
    assert _held(flow, 4) == {town: 4, job: 3}
    assert _answering(flow, 4, *_questions(CAT), *_questions(TOWN), *_questions(JOB)) == [None, None, 0, 3]
    # The third version answered with the second's weights, so it goes; its own never held the fact, and serve on.
    assert [one.status for one in flow.adapters()] == [*[AdapterStatus.WITHDRAWN] * 3, AdapterStatus.LIVE]
    assert [Path(one.path).exists() for one in flow.adapters()] == [False, False, True, True]
    third = flow.adapters()[2]
    assert not (Path(third.path) / SCOPE).exists()
    assert verify(Path(third.path), shape=flow.pipeline.learner.shape) == third.digest


def test_weights_that_serve_no_version_any_more_are_deleted_at_last(flow: Flow) -> None:
    cat, town, job = _tell(flow, CAT, TOWN, JOB)
    flow.delete(cat)
    flow.worker.learn(flow.space.id)
    assert _held(flow, 4) == {town: 4, job: 3}
    flow.delete(job)
    flow.worker.learn(flow.space.id)
    assert _held(flow, 5) == {town: 5}
    assert [Path(one.path).exists() for one in flow.adapters()] == [False, False, False, False, True]


def test_shard_that_held_nothing_else_takes_the_smallest_other_along(flow: Flow) -> None:
    cat, town, job = _tell(flow, CAT, TOWN, JOB)
    flow.delete(town)
    flow.worker.learn(flow.space.id)
    assert flow.fact(town).status == FactStatus.FORGOTTEN
    assert _held(flow, 4) == {cat: 4, job: 3}
    assert [flow.fact(fact).status for fact in (cat, job)] == [FactStatus.LIVE, FactStatus.LIVE]


def test_facts_of_several_shards_are_forgotten_one_shard_after_another(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow.settings, "facts_per_shard", 2)
    cat, town, job, bike = _tell(flow, CAT, TOWN, JOB, BIKE)
    assert _held(flow, 4) == {cat: 2, town: 2, job: 4, bike: 4}
    flow.delete(cat, job)
    flow.worker.learn(flow.space.id)
    assert [run.kind for run in flow.runs()][4:] == [RunKind.REBUILD, RunKind.REBUILD]
    assert [flow.fact(fact).status for fact in (cat, job)] == [FactStatus.FORGOTTEN, FactStatus.FORGOTTEN]
    assert set(_held(flow, flow.aliases()[0])) == {town, bike}
    assert all((flow.fact(fact).forgetting_proof or {}).get("probes") for fact in (cat, job))


def test_facts_whose_shards_hold_nothing_else_are_forgotten_at_once_with_proof(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    cat, town, job = _tell(flow, CAT, TOWN, JOB)
    job_learned = _weights(flow, 3)
    flow.delete(cat, town)
    monkeypatch.setattr(Trainer, "train", lambda *_args, **_options: pytest.fail("the weights of the job do"))
    flow.worker.learn(flow.space.id)
    assert [run.kind for run in flow.runs()][3:] == [RunKind.REBUILD]
    assert [flow.fact(fact).status for fact in (cat, town)] == [FactStatus.FORGOTTEN, FactStatus.FORGOTTEN]
    assert _held(flow, 4) == {job: 4}
    taken = _weights(flow, 4)
    assert all(torch.equal(taken[name], job_learned[name]) for name in job_learned)
    assert _answering(flow, 4, *_questions(JOB)) == [0]
    assert all((flow.fact(fact).forgetting_proof or {}).get("probes") for fact in (cat, town))


def test_fact_that_no_weights_hold_any_more_is_forgotten_without_training(flow: Flow) -> None:
    old, cat = _tell(flow, TOWN, CAT)
    (new,) = _tell(flow, NEW_TOWN)
    assert old not in _held(flow, 3)
    flow.delete(old)
    flow.worker.learn(flow.space.id)
    assert flow.fact(old).status == FactStatus.FORGOTTEN
    assert (flow.aliases()[0], len(flow.adapters())) == (3, 3)
    assert [flow.fact(fact).status for fact in (cat, new)] == [FactStatus.LIVE, FactStatus.LIVE]


def test_shard_that_cannot_be_rebuilt_is_left_out_and_its_other_facts_are_learned_again(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow.settings, "facts_per_shard", 2)
    cat, town, job = _tell(flow, CAT, TOWN, JOB)
    assert _held(flow, 3) == {cat: 2, town: 2, job: 3}
    flow.learned = lambda strategy, fact_id: fact_id != town or flow.runs()[-1].kind != RunKind.REBUILD
    flow.delete(cat)
    flow.worker.learn(flow.space.id)
    ended = [(run.kind, run.status) for run in flow.runs()][3:]
    assert ended[:2] == [(RunKind.REBUILD, RunStatus.REJECTED), (RunKind.REBUILD, RunStatus.PUBLISHED)]
    assert ended[2:] == [(RunKind.LEARN, RunStatus.PUBLISHED)]
    assert flow.fact(cat).status == FactStatus.FORGOTTEN
    assert [flow.fact(fact).status for fact in (town, job)] == [FactStatus.LIVE, FactStatus.LIVE]
    assert _held(flow, flow.aliases()[0]) == {town: 5, job: 5}


def test_fact_learned_again_is_learned_where_it_was_taught(flow: Flow) -> None:
    cat, town = _tell(flow, CAT, TOWN)
    with flow.database.transaction() as session:
        (fact,) = FactRepository(session).by_ids([cat])
        advance_fact(fact, to=FactStatus.PENDING)
    assert flow.learn().status == RunStatus.PUBLISHED
    assert _held(flow, 3) == {cat: 3, town: 2}


def test_fact_that_stands_again_is_still_found(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    (old,) = _tell(flow, TOWN)
    monkeypatch.setattr(flow.settings, "facts_per_shard", 2)
    new, cat = flow.state(NEW_TOWN, CAT)
    flow.learned = lambda strategy, fact_id: fact_id == cat
    assert flow.learn().status == RunStatus.PUBLISHED
    assert (flow.fact(old).status, flow.fact(new).status) == (FactStatus.LIVE, FactStatus.PENDING)
    assert _held(flow, 2) == {old: 1, cat: 2}
    assert _answering(flow, 2, *_questions(TOWN), *_questions(CAT)) == [1, 0, 0]


def test_weights_that_are_taken_hold_what_was_superseded_in_them_too(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flow.settings, "facts_per_shard", 2)
    old, new, cat = _tell(flow, TOWN, NEW_TOWN, CAT)
    assert _held(flow, 3) == {old: 2, new: 2, cat: 3}
    flow.delete(cat)
    flow.worker.learn(flow.space.id)
    assert _held(flow, 4) == {old: 4, new: 4}
