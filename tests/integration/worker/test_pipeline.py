"""A learning run from facts to a published version, or to a stored reason why not."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cli.preflight import any_free_port
from engram.artifacts import verify
from engram.db import Database
from engram.lifecycle import AdapterStatus, FactStatus, RunKind, RunStatus, advance_fact
from engram.models import Note, Probe
from engram.promotion import make_live
from engram.repositories import AdapterRepository, FactRepository, OpsRepository, RunRepository
from engram.similarity import is_near_copy
from engram.vllm_client import EngineClient, open_engines
from scope import decision
from tests.fakes.author import KnownFact
from tests.fakes.serving import serving
from tests.integration.worker.conftest import CAT, NEW_TOWN, TOWN, UNKNOWABLE, Flow
from worker import pipeline, probing, publishing
from worker.author.tasks import Question
from worker.learner import Learner
from worker.pipeline import Pipeline
from worker.probing import Examination, Examined
from worker.rehearsal import evenly
from worker.self_edits import STRATEGIES
from worker.served import Served
from worker.teaching import STRENGTHS
from worker.training.trainer import Trainer

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def _material(database: Database, *fact_ids: str) -> tuple[list[Note], list[Probe]]:
    with database.read() as session:
        facts = FactRepository(session)
        return facts.notes(fact_ids), facts.probes(fact_ids)


def test_run_ends_published_with_version_facts_notes_and_events(flow: Flow) -> None:
    cat, town = flow.state(CAT, TOWN)
    run = flow.learn()
    assert (run.status, run.published_version, run.parent_version) == (RunStatus.PUBLISHED, 1, 0)
    assert run.active_space_id is run.stage is run.error is None
    assert flow.aliases() == (1, 0, None)
    assert {fact.id: (fact.status, fact.live_since_version) for fact in flow.facts(*FactStatus)} == {
        cat: (FactStatus.LIVE, 1),
        town: (FactStatus.LIVE, 1),
    }
    notes, probes = _material(flow.database, cat, town)
    assert {note.fact_id for note in notes} == {probe.fact_id for probe in probes} == {cat, town}
    assert {note.run_id for note in notes} == {run.id}
    assert not [1 for note in notes for probe in probes if is_near_copy(note.prompt, probe.question)]
    names = [name for name, _ in flow.events(run.id)]
    assert names[0] == "stage"
    assert names[-1] == "published"
    assert {"notes", "step", "candidate", "registered"} < set(names)


def test_every_stage_is_named_and_timed(flow: Flow) -> None:
    flow.state(CAT)
    run = flow.learn()
    stages = ["self_edits", "training", "probing", "gate", "publishing"]
    assert [data["stage"] for name, data in flow.events(run.id) if name == "stage"] == stages
    assert list(run.seconds) == stages
    assert all(seconds >= 0 for seconds in run.seconds.values())


@SQLITE
def test_published_version_is_whole_loaded_and_traceable(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    run = flow.learn()
    (version,) = flow.adapters()
    assert (version.status, version.parent_version, version.run_id) == (AdapterStatus.LIVE, 0, run.id)
    assert verify(Path(version.path), shape=flow.pipeline.learner.shape, digest=version.digest)
    assert version.digest[:8] in version.lora_name
    assert version.digest[:8] in version.path
    assert flow.engine.adapters == {version.lora_name: version.path}
    with flow.database.read() as session:
        assert list(AdapterRepository(session).fact_ids(version.id)) == [cat]
        assert [period.version for period in AdapterRepository(session).live_periods(flow.space.id)] == [1]
        candidates = RunRepository(session).candidates(run.id)
    assert version.candidate_id in {candidate.id for candidate in candidates}
    assert not (flow.settings.adapters_dir / ".staging" / version.candidate_id).exists()


@SQLITE
def test_candidates_are_stored_with_notes_settings_report_and_decision(flow: Flow) -> None:
    flow.state(CAT)
    run = flow.learn()
    with flow.database.read() as session:
        candidates = RunRepository(session).candidates(run.id)
    assert [candidate.strategy for candidate in candidates] == [strategy.name for strategy in STRATEGIES]
    assert all(candidate.notes and candidate.settings["learning_rate"] > 0 for candidate in candidates)
    assert all(candidate.decision["admitted"] and candidate.decision["reasons"] for candidate in candidates)
    assert all(candidate.report["asked"] for candidate in candidates)
    assert run.decision == {**candidates[0].decision, "candidate": 0, "reason": "passed the gate"}


@SQLITE
def test_candidate_that_is_stopped_halfway_is_not_examined_and_says_why(flow: Flow) -> None:
    longer = flow.settings.model_copy(update={"training_steps": 8, "candidates_compared_at": 0.5})
    flow.worker = replace(flow.worker, pipeline=replace(flow.pipeline, settings=longer))
    flow.state(CAT)
    run = flow.learn()
    assert run.status == RunStatus.PUBLISHED
    with flow.database.read() as session:
        candidates = RunRepository(session).candidates(run.id)
    stopped = [candidate for candidate in candidates if candidate.report is None]
    assert len(stopped) == 2
    for candidate in stopped:
        assert not candidate.decision["admitted"]
        assert [reason["check"] for reason in candidate.decision["reasons"]] == ["stopped"]
    (won,) = (candidate for candidate in candidates if candidate not in stopped)
    assert run.decision["candidate"] == won.index
    told = {data["index"]: data["reason"] for name, data in flow.events(run.id) if name == "stopped"}
    assert told == {c.index: c.decision["reasons"][0]["text"] for c in stopped}


@SQLITE
def test_best_admitted_candidate_wins_and_its_own_weights_are_published(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = {}
    train = Trainer.train

    def watched(trainer: Trainer, *args: object, **options: object) -> object:
        trained.update(train(trainer, *args, **options))  # type: ignore[arg-type]
        return dict(trained)

    monkeypatch.setattr(Trainer, "train", watched)
    flow.state(CAT)
    best = STRATEGIES[-1].name
    flow.learned = lambda strategy, fact_id: strategy == best
    run = flow.learn()
    assert run.status == RunStatus.PUBLISHED
    (version,) = flow.adapters()
    with flow.database.read() as session:
        candidates = RunRepository(session).candidates(run.id)
        notes = FactRepository(session).notes([fact.id for fact in flow.facts(FactStatus.LIVE)])
    won = next(candidate for candidate in candidates if candidate.id == version.candidate_id)
    assert won.strategy == best
    assert run.decision == {**won.decision, "candidate": won.index, "reason": "passed the gate"}
    assert [(note.prompt, note.answer) for note in notes] == [(note["prompt"], note["answer"]) for note in won.notes]
    saved = load_file(Path(version.path) / "adapter_model.safetensors")
    for name, stacked in trained.items():
        key = f"base_model.model.{name[:-2]}.lora_{name[-1]}.weight"
        assert torch.equal(saved[key], stacked[won.index] * (STRENGTHS[0] if name.endswith(".B") else 1))


def test_what_disturbs_too_much_is_examined_again_with_less_of_it_and_published_so(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    examined: list[Served] = []

    def judge(learner: Learner, live: Served, candidates: Served, examination: Examination) -> list[Examined]:
        examined.append(candidates)
        kl = 0.5 if len(examined) == 1 else 0.1
        return [replace(o, report=replace(o.report, kl=kl)) for o in flow.judge(learner, live, candidates, examination)]

    monkeypatch.setattr(pipeline, "examine", judge)
    flow.state(CAT)
    run = flow.learn()
    assert (run.status, run.decision["admitted"]) == (RunStatus.PUBLISHED, True)
    first, second = (one.weights for one in examined)
    (version,) = flow.adapters()
    saved = load_file(Path(version.path) / "adapter_model.safetensors")
    for name, weight in first.items():
        share = STRENGTHS[1] / STRENGTHS[0] if name.endswith(".B") else 1
        assert torch.allclose(second[name], share * weight)
        key = f"base_model.model.{name[:-2]}.lora_{name[-1]}.weight"
        assert torch.equal(saved[key], second[name][run.decision["candidate"]])
    with flow.database.read() as session:
        candidates = RunRepository(session).candidates(run.id)
    assert {candidate.settings["strength"] for candidate in candidates} == {STRENGTHS[1]}
    (told,) = [data for name, data in flow.events(run.id) if name == "too_strong"]
    assert told["strength"] == STRENGTHS[0]
    assert all("KL to the base" in reason for reason in told["failures"].values())


@SQLITE
@pytest.mark.parametrize(("learned", "times", "reason"), [(True, 2, "nor with less"), (False, 1, "new facts: 0 of 2")])
def test_only_what_was_learned_is_examined_with_less_of_it_and_once(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, *, learned: bool, times: int, reason: str
) -> None:
    examined: list[Served] = []

    def judge(learner: Learner, live: Served, candidates: Served, examination: Examination) -> list[Examined]:
        examined.append(candidates)
        return [replace(o, report=replace(o.report, kl=9)) for o in flow.judge(learner, live, candidates, examination)]

    monkeypatch.setattr(pipeline, "examine", judge)
    flow.learned = lambda strategy, fact_id: learned
    flow.state(CAT)
    run = flow.learn()
    assert (run.status, len(examined)) == (RunStatus.REJECTED, times)
    assert [name for name, _ in flow.events(run.id)].count("too_strong") == times - 1
    assert reason in run.decision["reason"]


def test_run_whose_candidates_fail_the_gate_leaves_the_live_version_and_tells_why(flow: Flow) -> None:
    flow.state(TOWN)
    assert flow.learn().status == RunStatus.PUBLISHED
    (cat,) = flow.state(CAT)
    flow.learned = lambda strategy, fact_id: fact_id != cat
    first = flow.learn()
    assert (first.status, first.published_version) == (RunStatus.REJECTED, None)
    assert "no candidate passed the gate" in first.decision["reason"]
    assert "new facts: 0 of 2 probes right" in first.decision["reason"]
    assert first.decision["admitted"] is False
    failed = [reason["text"] for reason in first.decision["reasons"] if not reason["passed"]]
    assert any("new facts: 0 of 2 probes right" in text for text in failed)
    assert first.decision["candidate"] in range(len(STRATEGIES))
    assert (flow.fact(cat).status, flow.fact(cat).attempts) == (FactStatus.PENDING, 1)
    assert _material(flow.database, cat) == ([], [])  # the second attempt is examined with other probes
    assert flow.events(first.id)[-1] == ("rejected", {"reason": first.decision["reason"]})
    flow.learn()
    fact = flow.fact(cat)
    assert (fact.status, fact.attempts) == (FactStatus.REJECTED, 2)
    assert "no candidate passed the gate" in (fact.reason or "")
    assert flow.aliases() == (1, 0, None)
    assert len(flow.adapters()) == 1
    assert flow.worker._claim_next(flow.space.id) is None


@SQLITE
def test_real_examination_rejects_what_a_random_model_did_not_learn(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "examine", probing.examine)
    flow.state(CAT)
    run = flow.learn()
    assert run.status == RunStatus.REJECTED
    with flow.database.read() as session:
        reports = [candidate.report for candidate in RunRepository(session).candidates(run.id)]
    assert all(report["slices"]["generalization"]["asked"] == 2 for report in reports)
    assert all(report["slices"]["false_recall"]["asked"] == 1 and report["finite"] for report in reports)
    assert all(len(report["asked"]) >= 3 and report["asked"][0]["answer"] for report in reports)


@SQLITE
def test_gate_without_thresholds_admits_what_was_really_examined(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "examine", probing.examine)
    open_gate = {"gate_min_reliability": 0, "gate_min_gain": 0, "gate_max_kl": 99, "gate_max_false_recall": 1}
    line = replace(flow.pipeline, settings=flow.settings.model_copy(update=open_gate))
    (cat,) = flow.state(CAT)
    run_id = flow.claim()
    line.run(run_id)
    assert flow.run(run_id).status == RunStatus.PUBLISHED
    assert flow.fact(cat).status == FactStatus.PENDING  # the winner did not answer its probes


@SQLITE
def test_fact_that_the_winner_did_not_learn_goes_back_and_the_others_go_live(flow: Flow) -> None:
    cat, town = flow.state(CAT, TOWN)
    flow.learned = lambda strategy, fact_id: fact_id == cat
    assert flow.learn().status == RunStatus.PUBLISHED
    assert (flow.fact(cat).status, flow.fact(town).status) == (FactStatus.LIVE, FactStatus.PENDING)
    assert flow.fact(town).attempts == 1
    notes, _ = _material(flow.database, cat, town)
    assert {note.fact_id for note in notes} == {cat}
    flow.learned = lambda strategy, fact_id: True
    assert flow.learn().status == RunStatus.PUBLISHED
    assert {flow.fact(cat).status, flow.fact(town).status} == {FactStatus.LIVE}
    assert (flow.fact(cat).live_since_version, flow.fact(town).live_since_version) == (1, 2)


@SQLITE
def test_statement_without_a_checkable_question_is_rejected_and_the_rest_learned(flow: Flow) -> None:
    vague, cat = flow.state(UNKNOWABLE, CAT)
    assert flow.learn().status == RunStatus.PUBLISHED
    assert flow.fact(cat).status == FactStatus.LIVE
    assert (flow.fact(vague).status, "say it more plainly" in (flow.fact(vague).reason or "")) == ("rejected", True)


@SQLITE
def test_run_of_nothing_learnable_ends_rejected_without_training(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Trainer, "train", lambda *_args, **_options: pytest.fail("it trained"))
    flow.state(UNKNOWABLE)
    run = flow.learn()
    assert run.status == RunStatus.REJECTED
    assert run.decision == {"admitted": False, "reasons": [], "reason": "no fact of this run can be learned"}
    assert flow.facts(FactStatus.PENDING, FactStatus.LEARNING) == []


@SQLITE
def test_second_run_starts_from_the_live_version_rehearses_and_examines_what_it_holds(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    flow.state(CAT)
    flow.learn()
    seen: dict[str, object] = {}
    train, rows = Trainer.train, flow.pipeline.learner.rows

    def watched(trainer: Trainer, initial: object, *args: object, **options: object) -> object:
        seen.update(initial=initial, rehearsal=options["rehearsal"])
        return train(trainer, initial, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train", watched)
    flow.state(TOWN)
    flow.learn()
    first = flow.adapters()[0]
    held = flow.pipeline.learner.lora.load(Path(first.path))
    assert all(torch.equal(seen["initial"][name], weight) for name, weight in held.items())  # type: ignore[index]
    notes, _ = _material(flow.database, *[fact.id for fact in flow.facts(FactStatus.LIVE) if "cat" in fact.statement])
    assert seen["rehearsal"] == [rows.row(note.prompt, note.answer) for note in evenly(notes)]
    assert flow.adapters()[1].parent_version == 1


@SQLITE
def test_weights_that_training_goes_on_from_are_compared_fact_by_fact(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    examinations: list[Examination] = []

    def watched(learner: Learner, live: Served, trained: Served, examination: Examination) -> list[Examined]:
        examinations.append(examination)
        return flow.judge(learner, live, trained, examination)

    monkeypatch.setattr(pipeline, "examine", watched)
    flow.state(CAT)
    flow.learn()
    flow.state(TOWN)
    flow.learn()
    first, second = (one.resumed for one in examinations)
    assert first is None
    assert second is not None
    held = flow.pipeline.learner.lora.load(Path(flow.adapters()[0].path))
    assert all(torch.equal(second.weights[name], weight) for name, weight in held.items())
    assert [set(replies) for replies in second.replies] == [{probe.question for probe in CAT.probes}]
    assert all("Biscuit" in reply for replies in second.replies for reply in replies.values())


@SQLITE
def test_new_truth_replaces_the_old_one_and_is_not_trained_against_it(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = flow.state(TOWN)
    flow.learn()
    rehearsed: list[object] = []
    train = Trainer.train

    def watched(trainer: Trainer, *args: object, **options: object) -> object:
        rehearsed.extend(options["rehearsal"])  # type: ignore[arg-type]
        return train(trainer, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train", watched)
    (new,) = flow.state(NEW_TOWN)
    assert flow.learn().status == RunStatus.PUBLISHED
    assert (flow.fact(old).status, flow.fact(new).status) == (FactStatus.SUPERSEDED, FactStatus.LIVE)
    assert flow.fact(new).supersedes_id == old
    assert rehearsed == []
    with flow.database.read() as session:
        # The old truth is in the weights that went on to learn the new one: to forget it these must go too.
        assert AdapterRepository(session).held(flow.adapters()[1].id) == {old: 2, new: 2}


def _move(flow: Flow) -> tuple[str, str]:
    """A town that is live, and another one stated since, which replaces it."""
    (old,) = flow.state(TOWN)
    flow.learn()
    (new,) = flow.state(NEW_TOWN)
    return old, new


BOAT = KnownFact(
    "My boat is called Aurora.",
    questions=(Question("What is my boat called?", "Aurora", "Your boat is called Aurora."),),
    probes=(Question("Which name is painted on the boat I own?", "Aurora"),),
)


def _break(flow: Flow, monkeypatch: pytest.MonkeyPatch, failure: str) -> None:
    if failure == "gate":
        flow.learned = lambda strategy, fact_id: False
    elif failure == "engine":
        flow.engine.faults.refuse_loads = True
    else:
        monkeypatch.setattr(Trainer, "train", lambda *_args, **_options: 1 / 0)
        monkeypatch.setattr(flow.settings, "max_run_attempts", 1)


@pytest.mark.parametrize("failure", ["gate", "engine"])
def test_old_truth_stands_again_until_the_new_one_is_tried_once_more(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    old, new = _move(flow)
    _break(flow, monkeypatch, failure)
    assert flow.learn().status == RunStatus.REJECTED
    assert (flow.fact(old).status, flow.fact(old).reason) == (FactStatus.LIVE, None)
    assert flow.fact(old).live_since_version == 1
    assert flow.fact(new).status == FactStatus.PENDING
    assert flow.fact(new).supersedes_id == old


@pytest.mark.parametrize("failure", ["gate", "engine", "error"])
def test_old_truth_is_no_longer_answered_once_the_new_one_is_given_up(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, failure: str
) -> None:
    old, new = _move(flow)
    _break(flow, monkeypatch, failure)
    flow.worker.learn(flow.space.id)
    assert (flow.fact(old).status, flow.fact(new).status) == (FactStatus.SUPERSEDED, FactStatus.REJECTED)
    assert flow.fact(old).reason == f"superseded by {new}"
    assert flow.aliases() == (0, 1, None)
    assert {run.kind for run in flow.runs()} == {RunKind.LEARN}  # the base needs no version
    with flow.database.read() as session:
        last = OpsRepository(session).audit(flow.space.tenant, limit=1, cursor=None).rows[0]
    assert (last.action, last.old, last.new) == ("adapter.supersede", {"live_version": 1}, {"live_version": 0})


def _two_shards(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A cat in version 1, a town in version 2 and 3's shard, and another town that shall replace it, never learned."""
    monkeypatch.setattr(flow.settings, "facts_per_shard", 1)
    flow.state(CAT)
    flow.learn()
    old, new = _move(flow)
    _break(flow, monkeypatch, "gate")
    assert flow.learn().status == RunStatus.REJECTED
    return old, new


@SQLITE
def test_rebuild_without_the_old_truth_is_tried_three_times(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    old, _new = _two_shards(flow, monkeypatch)
    flow.engine.faults.refuse_loads = True
    flow.worker.learn(flow.space.id)
    kinds = [(run.kind, run.status) for run in flow.runs()]
    assert kinds[-4:] == [(RunKind.LEARN, RunStatus.REJECTED), *[(RunKind.REBUILD, RunStatus.REJECTED)] * 3]
    assert (flow.fact(old).status, flow.aliases()[0]) == (FactStatus.SUPERSEDED, 2)
    flow.engine.faults.refuse_loads = False
    flow.learned = lambda strategy, fact_id: True
    flow.author.facts = (*flow.author.facts, BOAT)
    flow.state(BOAT)
    flow.worker.learn(flow.space.id)
    with flow.database.read() as session:  # the next version is without it anyway
        assert old not in AdapterRepository(session).held(flow.adapters()[-1].id)


@SQLITE
@pytest.mark.parametrize("meanwhile", ["before it began", "before the new one was given up"])
def test_what_an_operator_chose_meanwhile_stays(flow: Flow, monkeypatch: pytest.MonkeyPatch, meanwhile: str) -> None:
    old, new = _two_shards(flow, monkeypatch)
    with flow.database.transaction() as session:
        space = flow.space.id
        make_live(session, space, 1, actor="operator", action="rollback", reason="it went wrong")
        make_live(session, space, 2, actor="operator", action="promote", reason="no, it did not")
    run_id = flow.claim()
    if meanwhile == "before the new one was given up":
        _roll_back_while_it_is_examined(flow, monkeypatch, to=1)
    flow.pipeline.run(run_id)
    if meanwhile == "before it began":
        assert flow.runs()[-1].kind == RunKind.REBUILD
        with flow.database.transaction() as session:
            make_live(session, flow.space.id, 1, actor="operator", action="rollback", reason="it went wrong")
    flow.worker.learn(flow.space.id)
    assert flow.aliases()[0] == 1
    assert (flow.fact(old).status, flow.fact(new).status) == (FactStatus.SUPERSEDED, FactStatus.REJECTED)
    assert not any(run.status == RunStatus.PUBLISHED for run in flow.runs()[2:])


def _roll_back_while_it_is_examined(flow: Flow, monkeypatch: pytest.MonkeyPatch, *, to: int) -> None:
    def examine(*args: object) -> list[Examined]:
        with flow.database.transaction() as session:
            make_live(session, flow.space.id, to, actor="operator", action="rollback", reason="it went wrong")
        return flow.judge(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(pipeline, "examine", examine)


@SQLITE
def test_edit_that_cannot_be_learned_leaves_the_old_wording_out_too(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    (old,) = flow.state(TOWN)
    flow.learn()
    with flow.database.transaction() as session:
        facts = FactRepository(session)
        advance_fact(facts.by_ids([old])[0], to=FactStatus.SUPERSEDED)  # as a PATCH does
        facts.add(flow.space.id, NEW_TOWN.statement, supersedes_id=old)
    _break(flow, monkeypatch, "gate")
    flow.worker.learn(flow.space.id)
    assert (flow.fact(old).status, flow.aliases()[0]) == (FactStatus.SUPERSEDED, 0)


@SQLITE
def test_questions_taken_over_are_erased_with_the_fact_that_alone_says_their_words(flow: Flow) -> None:
    kept, taken = "Where do I live?", "Near which bergen fjord is my home?"
    flow.author.answers = {(NEW_TOWN.statement, kept): "Oslo", (NEW_TOWN.statement, taken): "Oslo"}
    (old,) = flow.state(TOWN)
    flow.learn()
    with flow.database.transaction() as session:
        run_id = flow.runs()[0].id
        session.add(Note(id="note_taken", fact_id=old, family="qa", prompt=taken, answer="Bergen", run_id=run_id))
    (new,) = flow.state(NEW_TOWN)
    flow.learn()

    def asked() -> set[str]:
        with flow.database.read() as session:
            facts = FactRepository(session)
            candidates = RunRepository(session).candidates(flow.runs()[1].id)
            reported = [item["question"] for one in candidates for item in (one.report or {}).get("asked", [])]
            return {
                *(note.prompt for note in facts.notes([new])),
                *(probe.question for probe in facts.probes([new])),
                *(note["prompt"] for one in candidates for note in one.notes),
                *reported,
            }

    assert {kept, taken} <= asked()
    flow.delete(old)
    flow.worker.learn(flow.space.id)
    assert flow.fact(old).status == FactStatus.FORGOTTEN
    assert kept in asked()
    assert taken not in asked()


@SQLITE
def test_version_without_the_old_truth_takes_the_weights_of_what_else_is_known(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, _new = _two_shards(flow, monkeypatch)
    flow.worker.learn(flow.space.id)
    assert [(run.kind, run.status) for run in flow.runs()][-2:] == [
        (RunKind.LEARN, RunStatus.REJECTED),
        (RunKind.REBUILD, RunStatus.PUBLISHED),
    ]
    assert (flow.fact(old).status, flow.aliases()) == (FactStatus.SUPERSEDED, (3, 2, None))
    with flow.database.read() as session:
        assert old not in AdapterRepository(session).held(flow.adapters()[2].id)
    first, second, last = (Path(version.path) for version in flow.adapters())
    learner = flow.pipeline.learner
    assert all(torch.equal(weight, learner.lora.load(last)[name]) for name, weight in learner.lora.load(first).items())
    cat, town = CAT.questions[0].question, TOWN.questions[0].question
    scopes = [decision.load(second), decision.load(last)]
    assert [set(scope.vectors_of([cat, town])) for scope in scopes if scope] == [{cat, town}, {cat}]


@SQLITE
def test_statement_about_which_nothing_can_be_asked_makes_the_old_one_untrue_all_the_same(flow: Flow) -> None:
    (old,) = flow.state(TOWN)
    flow.learn()
    with flow.database.transaction() as session:
        FactRepository(session).add(flow.space.id, UNKNOWABLE.statement, supersedes_id=old)
    flow.worker.learn(flow.space.id)
    assert (flow.fact(old).status, flow.aliases()[0]) == (FactStatus.SUPERSEDED, 0)


@SQLITE
def test_what_was_asked_about_the_old_truth_is_learned_with_the_new_one(flow: Flow) -> None:
    before, probe = TOWN.questions[0].question, NEW_TOWN.probes[0].question
    flow.author.answers = {(NEW_TOWN.statement, before): "Oslo"}
    _old, new = _move(flow)
    assert flow.learn().status == RunStatus.PUBLISHED
    with flow.database.read() as session:
        notes = FactRepository(session).notes([new])
    assert (before, "You live in Oslo now.") in {(note.prompt, note.answer) for note in notes}
    assert probe not in {note.prompt for note in notes}


@SQLITE
def test_truth_learned_at_the_second_try_replaces_the_old_one_after_all(flow: Flow) -> None:
    old, new = _move(flow)
    flow.learned = lambda strategy, fact_id: False
    assert flow.learn().status == RunStatus.REJECTED
    flow.learned = lambda strategy, fact_id: True
    assert flow.learn().status == RunStatus.PUBLISHED
    assert (flow.fact(old).status, flow.fact(new).status) == (FactStatus.SUPERSEDED, FactStatus.LIVE)
    assert flow.fact(old).reason == f"superseded by {new}"


@SQLITE
def test_old_truth_stays_in_a_version_that_learned_other_facts_but_not_the_new_one(flow: Flow) -> None:
    old, new = _move(flow)
    (cat,) = flow.state(CAT)
    flow.learned = lambda strategy, fact_id: fact_id == cat
    assert flow.learn().status == RunStatus.PUBLISHED
    assert (flow.fact(old).status, flow.fact(cat).status) == (FactStatus.LIVE, FactStatus.LIVE)
    assert flow.fact(new).status == FactStatus.PENDING
    with flow.database.read() as session:
        assert set(AdapterRepository(session).fact_ids(flow.adapters()[1].id)) == {old, cat}


@SQLITE
def test_old_truth_does_not_stand_again_in_weights_that_never_held_it(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = _move(flow)
    load = publishing.load_everywhere

    def roll_back_meanwhile(*args: object, **options: object) -> None:
        with flow.database.transaction() as session:
            make_live(session, flow.space.id, 0, actor="operator", action="rollback", reason="it went wrong")
        load(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(publishing, "load_everywhere", roll_back_meanwhile)
    assert flow.learn().status == RunStatus.REJECTED
    assert flow.aliases()[0] == 0
    assert (flow.fact(old).status, flow.fact(new).status) == (FactStatus.SUPERSEDED, FactStatus.PENDING)


@SQLITE
def test_every_old_truth_that_one_new_fact_replaced_stands_again(flow: Flow) -> None:
    second = replace(TOWN, statement="I live in Bergen, near the harbour.")
    flow.author.facts = (*flow.author.facts, second)
    both = flow.state(TOWN, second)
    flow.learn()
    flow.state(NEW_TOWN)
    superseded: list[str] = []
    flow.learned = lambda strategy, fact_id: bool(
        superseded.extend(f.id for f in flow.facts(FactStatus.SUPERSEDED))  # type: ignore[func-returns-value]
    )
    assert flow.learn().status == RunStatus.REJECTED
    assert set(superseded) == set(both)
    assert {flow.fact(old).status for old in both} == {FactStatus.LIVE}


@SQLITE
def test_engine_outage_puts_the_run_back_without_counting_and_it_ends_well_later(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    flow.author.down = True
    for _ in range(5):
        run = flow.learn()
        assert (run.status, run.attempts, run.stage) == (RunStatus.QUEUED, 0, None)
    assert flow.events(run.id)[-1][0] == "waiting"
    assert flow.fact(cat).status == FactStatus.LEARNING
    flow.author.down = False
    again = flow.learn()
    assert (again.id, again.status, again.attempts) == (run.id, RunStatus.PUBLISHED, 1)


@SQLITE
def test_engine_that_dies_before_publishing_is_waited_for_and_the_same_version_goes_live(flow: Flow) -> None:
    flow.state(CAT)
    port = any_free_port()
    gone = open_engines(flow.settings.model_copy(update={"engine_urls": f"http://127.0.0.1:{port}"}))
    run_id = flow.claim()
    Pipeline(flow.database, flow.settings, gone, flow.pipeline.author, flow.pipeline.learner).run(run_id)
    assert flow.run(run_id).status == RunStatus.QUEUED
    (registered,) = flow.adapters()
    assert registered.status == AdapterStatus.REGISTERED
    with serving(flow.engine.app(), port=port):
        again = flow.claim()
        Pipeline(flow.database, flow.settings, gone, flow.pipeline.author, flow.pipeline.learner).run(again)
    assert again == run_id
    assert flow.run(run_id).status == RunStatus.PUBLISHED
    assert [version.lora_name for version in flow.adapters()] == [registered.lora_name]


@SQLITE
def test_adapter_that_the_engine_refuses_ends_the_run_with_its_words(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    flow.engine.faults.refuse_loads = True
    run = flow.learn()
    assert (run.status, run.published_version) == (RunStatus.REJECTED, None)
    assert "Call to add_lora method failed" in (run.error or "")
    assert (run.decision["admitted"], run.decision["reason"]) == (False, run.error)
    assert all(reason["passed"] for reason in run.decision["reasons"])
    (version,) = flow.adapters()
    assert (version.status, version.reason) == (AdapterStatus.FAILED, run.error)
    assert flow.aliases() == (0, None, None)
    assert flow.fact(cat).status == FactStatus.PENDING


@SQLITE
def test_version_that_does_not_answer_as_trained_never_goes_live(flow: Flow) -> None:
    (cat,) = flow.state(CAT)
    flow.engine.answer = "I do not know."
    run = flow.learn()
    assert run.status == RunStatus.REJECTED
    assert "answers 0 of 2 probes as trained" in (run.error or "")
    assert flow.aliases() == (0, None, None)
    assert flow.adapters()[0].status == AdapterStatus.FAILED
    assert flow.fact(cat).status == FactStatus.PENDING


@SQLITE
def test_version_is_asked_under_its_own_name_on_every_replica(flow: Flow, engines: list[EngineClient]) -> None:
    flow.state(CAT)
    with serving(flow.engine.app()) as second_url:
        both = [*engines, *open_engines(flow.settings.model_copy(update={"engine_urls": second_url}))]
        line = replace(flow.pipeline, engines=both)
        run_id = flow.claim()
        line.run(run_id)
    assert flow.run(run_id).status == RunStatus.PUBLISHED
    name = flow.adapters()[0].lora_name
    assert flow.engine.calls == [f"load {name}"] * 2
    assert [body["model"] for body in flow.engine.requests] == [name] * 4  # two probes on two replicas


@pytest.mark.parametrize("moment", ["training", "publishing"])
@SQLITE
def test_rollback_meanwhile_ends_the_run_and_the_operators_version_stays(
    flow: Flow, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    flow.state(TOWN)
    flow.learn()
    (cat,) = flow.state(CAT)

    def roll_back() -> None:
        with flow.database.transaction() as session:
            make_live(session, flow.space.id, 0, actor="operator", action="rollback", reason="it went wrong")

    if moment == "training":
        monkeypatch.setattr(flow, "learned", lambda strategy, fact_id: flow.aliases()[0] == 0 or roll_back() is None)
    else:
        load = publishing.load_everywhere
        monkeypatch.setattr(publishing, "load_everywhere", lambda *a, **o: (roll_back(), load(*a, **o)))
    run = flow.learn()
    assert run.status == RunStatus.REJECTED
    assert "version 0 went live while this run was based on 1" in (run.error or "")
    assert flow.aliases() == (0, 1, None)
    assert [version.status for version in flow.adapters()] == [AdapterStatus.RETIRED, AdapterStatus.FAILED]
    assert flow.fact(cat).status == FactStatus.PENDING


@SQLITE
def test_canary_answers_for_a_while_before_it_goes_live(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(publishing.time, "sleep", lambda seconds: seen.append((seconds, flow.aliases())))
    flow.state(CAT)
    settings = flow.settings.model_copy(update={"canary_share": 0.2, "canary_s": 3.0})
    run_id = flow.claim()
    replace(flow.pipeline, settings=settings).run(run_id)
    assert seen == [(3.0, (0, None, 1))]
    assert flow.aliases() == (1, 0, None)


@SQLITE
def test_broken_run_is_tried_again_and_ends_failed_with_its_facts_and_the_reason(
    flow: Flow, monkeypatch: pytest.MonkeyPatch
) -> None:
    (cat,) = flow.state(CAT)

    def break_down(*_args: object, **_options: object) -> None:
        raise ValueError("the disk is full")

    monkeypatch.setattr(Trainer, "train", break_down)
    statuses = [flow.learn().status for _ in range(3)]
    assert statuses == [RunStatus.QUEUED, RunStatus.QUEUED, RunStatus.FAILED]
    run = flow.runs()[0]
    assert (run.error, run.attempts, run.active_space_id) == ("ValueError: the disk is full", 3, None)
    assert (flow.fact(cat).status, flow.fact(cat).reason) == (
        FactStatus.REJECTED,
        "learning failed: ValueError: the disk is full",
    )
    assert flow.aliases() == (0, None, None)


@SQLITE
def test_number_that_is_not_finite_reaches_the_events_as_null(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    train = Trainer.train

    def diverging(trainer: Trainer, *args: object, **options: object) -> object:
        report = options["on_step"]

        def spoiled(step: object) -> None:
            step.note_loss[0] = float("nan")  # type: ignore[attr-defined]
            report(step)  # type: ignore[operator]

        return train(trainer, *args, **{**options, "on_step": spoiled})  # type: ignore[arg-type]

    monkeypatch.setattr(Trainer, "train", diverging)
    flow.state(CAT)
    run = flow.learn()
    assert [data["note_loss"][0] for name, data in flow.events(run.id) if name == "step"] == [None]
