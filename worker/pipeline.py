"""Run one learning run from facts to a published version, or to a stored reason why not.

Stages: self_edits, training, probing, gate, publishing. What a stage produced is in the database
before the next begins, so a run that was killed goes on, or repeats the stage it was in.
"""

import math
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import asdict, dataclass, replace

import structlog

from engram.db import Database
from engram.errors import Conflict, EngineUnavailable
from engram.gate import GateDecision, GatePolicy, decide, decide_unchanged, is_too_strong, not_examined, quality
from engram.lifecycle import RunStatus
from engram.models import AdapterVersion
from engram.repositories import AdapterRepository, FactRepository, RunRepository, SpaceRepository
from engram.repositories.runs import GAVE_WAY
from engram.routing import BASE_VERSION
from engram.settings import Settings
from engram.vllm_client import EngineClient
from scope.decision import Scope
from worker import outcomes, proof, publishing, recovery
from worker.author.client import Author
from worker.contents import held_by, said_by_shard
from worker.curriculum import Lesson, plan_lesson
from worker.learner import Learner
from worker.material import Material, prepare_material
from worker.probing import Asked, Examination, Examined, Resumed, examine, unknown_to
from worker.progress import Progress
from worker.self_edits import Note, right_replies
from worker.served import Served, read_scope, read_served, read_shards, save_served
from worker.teaching import strengths, teach
from worker.training.stacked_lora import Weights, select
from worker.training.steps import Progress as TrainingProgress
from worker.training.stopping import Stop, finalists

log = structlog.get_logger()

MOST_CONSOLIDATED_PROBES = 120
REPORT_EVERY_STEPS = 2


class GaveWay(Exception):
    """A consolidation stops: a user waits for something else."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """All candidates as they would be served, at `strength` of what was trained; what was found of those examined and
    what the gate says of it, by index."""

    served: Served
    strength: float
    examined: Mapping[int, Examined]
    decisions: Mapping[int, GateDecision]

    @property
    def winner(self) -> int | None:
        """The best one that is let in."""
        admitted = [index for index, decision in self.decisions.items() if decision.admitted]
        return max(admitted, key=lambda index: quality(self.examined[index].report), default=None)

    @property
    def too_strong(self) -> list[int]:
        """Those that were refused for what they disturb alone."""
        return [index for index, decision in self.decisions.items() if is_too_strong(decision)]


@dataclass(frozen=True)
class Pipeline:
    database: Database
    settings: Settings
    engines: Sequence[EngineClient]
    author: Author
    learner: Learner

    def run(self, run_id: str) -> None:
        """Bring a claimed run to an end. An engine outage puts it back in the queue instead."""
        progress = Progress(self.database, run_id)
        with progress.heartbeat():
            try:
                self._run(run_id, progress)
            except GaveWay:
                outcomes.give_way(self.database, run_id)
                progress.event("rejected", reason=GAVE_WAY)
            except EngineUnavailable as error:
                progress.event("waiting", reason=error.message)
                outcomes.requeue(self.database, run_id, counts=False)
            except Exception as error:
                # The edge of a run: whatever went wrong is stored with it, and it is tried again or ends.
                log.exception("run.failed", run=run_id)
                reason = f"{type(error).__name__}: {error}"[:500]
                outcomes.fail_or_requeue(self.database, run_id, reason, max_attempts=self.settings.max_run_attempts)

    def _run(self, run_id: str, progress: Progress) -> None:
        if adapter := self._registered(run_id):
            self._resume_publishing(adapter, progress)
            return
        # Without sentences nothing would say which shard answers.
        most = self.settings.facts_per_shard if self.learner.sentences else 0
        lesson = plan_lesson(self.database, run_id, facts_per_shard=most)
        with progress.stage("self_edits"):
            material = prepare_material(
                self.database,
                lesson,
                self.author,
                progress,
                supersedes=self.learner.superseded_by,
                seed=self.settings.seed + 1000 * lesson.attempt,
            )
        if not material.candidates:
            self._prove_forgetting(lesson, None)
            outcomes.reject(self.database, lesson, reason=_why_nothing(lesson))
            return
        initial = self._initial(lesson)
        with progress.stage("training"):
            trained, stops = (initial, {}) if lesson.takes else self._train(lesson, material, initial, progress)
        survivors = finalists(len(material.candidates), stops)
        with progress.stage("probing"):
            examination = self._examination(lesson, material, initial)
            scope = self._scope(
                lesson,
                material.notes,
                replaced=material.superseded,
                asked=material.asked_words,
                vectors_from=read_scope(self.database, lesson.space_id, lesson.parent_version),
            )
            # A rebuild has nothing to be compared with: what it shall leave out helped the live version.
            bare = lesson.rebuilds or lesson.parent_version == BASE_VERSION
            before = Served(initial, self.learner.scope_of_base()) if bare else self._live(lesson)
            candidates = Served(trained, scope, self._shard(lesson))
            verdict = self._examine(lesson, examination, progress, live=before, trained=candidates, survivors=survivors)
        with progress.stage("gate"):
            self._keep_decisions(lesson, material, verdict, stops, progress)
        won = verdict.winner
        self._prove_forgetting(lesson, None if won is None else verdict.examined[won])
        if won is None:
            closest = max(verdict.examined, key=lambda index: quality(verdict.examined[index].report))
            weaker = ", nor with less of what was trained" if verdict.strength < strengths(lesson)[0] else ""
            reason = f"no candidate passed the gate{weaker}; closest: {verdict.decisions[closest].failures}"
            outcomes.decided(self.database, run_id, verdict.decisions[closest], index=closest, reason=reason)
            outcomes.reject(self.database, lesson, reason=reason)
            progress.event("rejected", reason=reason)
            return
        outcomes.decided(self.database, run_id, verdict.decisions[won], index=won, reason="passed the gate")
        with progress.stage("publishing"):
            self._publish(lesson, material, verdict, won, progress)

    def _registered(self, run_id: str) -> AdapterVersion | None:
        with self.database.read() as session:
            return AdapterRepository(session).of_run(run_id)

    def _initial(self, lesson: Lesson) -> Weights:
        """The shard that goes on to be trained, or an untrained adapter, which answers nearly as the base does."""
        if lesson.starts_from_base:
            return self.learner.lora.fresh(seed=self.settings.seed)
        return self._shard(lesson)(lesson.start)

    def _live(self, lesson: Lesson) -> Served:
        return read_served(self.learner, self.database, lesson.space_id, lesson.parent_version)

    def _shard(self, lesson: Lesson) -> Callable[[int], Weights]:
        return read_shards(self.learner, self.database, lesson.space_id)

    def _scope(
        self,
        lesson: Lesson,
        notes: Sequence[Note],
        *,
        replaced: Set[str],
        asked: frozenset[str],
        vectors_from: Scope | None,
    ) -> Scope | None:
        """Of what was asked in `notes`, what was rehearsed, and what other shards know, but of no fact `replaced`.

        `asked`: words of the new facts' probes. `vectors_from`: a scope that holds most of these questions already.
        """
        rehearsed, elsewhere = (
            [note for note in earlier if note.fact_id not in replaced]
            for earlier in (lesson.rehearsal, lesson.elsewhere)
        )
        return self.learner.scope(
            [note.prompt for note in (*notes, *rehearsed)],
            lesson.told | asked,
            said=said_by_shard(lesson, taught={note.fact_id for note in notes}, replaced=replaced),
            elsewhere={note.prompt: lesson.held[note.fact_id] for note in elsewhere},
            vectors_from=vectors_from,
        )

    def _train(
        self, lesson: Lesson, material: Material, initial: Weights, progress: Progress
    ) -> tuple[Weights, dict[int, Stop]]:
        """All candidates' weights, and which of them stopped early."""
        stops = dict[int, Stop]()

        def report(step: TrainingProgress) -> None:
            for index in step.stopped.keys() - stops.keys():
                stops[index] = step.stopped[index]
                progress.event("stopped", index=index, step=step.step, reason=stops[index].reason)
            if step.step % REPORT_EVERY_STEPS == 0 or step.step == step.steps:
                if lesson.consolidates and recovery.someone_waits(self.database, self.settings):
                    raise GaveWay
                losses, kl = _finite(step.note_loss), _finite(step.anchor_kl)
                progress.event("step", step=step.step, steps=step.steps, note_loss=losses, kl=kl)

        return teach(self.learner, self.settings, lesson, material, initial=initial, on_step=report), stops

    def _examination(self, lesson: Lesson, material: Material, initial: Weights) -> Examination:
        examination = Examination(
            new=unknown_to(self.learner, material.probes),
            # What a rebuild keeps of its shard are its new facts; the weights of the others stay as they are.
            earlier=[]
            if lesson.rebuilds
            else [probe for probe in lesson.earlier if probe.fact_id not in material.superseded],
            told=lesson.told | material.asked_words,
            # What these weights may recall: other shards' answers they never held.
            known_answers=frozenset(a for probe in (*material.probes, *lesson.earlier_here) for a in probe.answers),
            forgotten=lesson.forgotten,
            replies=right_replies(material.probes, material.notes),
            resumed=_resumed(lesson, initial, superseded=material.superseded),
            seed=self.settings.seed,
        )
        if lesson.consolidates:
            return replace(examination, max_earlier=MOST_CONSOLIDATED_PROBES)
        return examination

    def _examine(
        self,
        lesson: Lesson,
        examination: Examination,
        progress: Progress,
        *,
        live: Served,
        trained: Served,
        survivors: Sequence[int],
    ) -> Verdict:
        """Examine and decide; once more with less of what was trained, where that may pass and all of it did not."""
        options = strengths(lesson)
        for strength in options:
            candidates = replace(trained, weights=self.learner.lora.weakened(trained.weights, strength))
            chosen = replace(candidates, weights=select(candidates.weights, survivors))
            asked = examine(self.learner, live, chosen, examination)
            examined = dict(zip(survivors, asked, strict=True))
            verdict = Verdict(candidates, strength, examined, self._decisions(lesson, examined))
            if verdict.winner is not None or not verdict.too_strong or strength == options[-1]:
                break
            failures = {index: verdict.decisions[index].failures for index in verdict.too_strong}
            progress.event("too_strong", strength=strength, failures=failures)
        return verdict

    def _decisions(self, lesson: Lesson, examined: Mapping[int, Examined]) -> dict[int, GateDecision]:
        policy = gate_policy(self.settings)
        if lesson.consolidates:
            policy = replace(policy, teaches=False, max_retention_loss=0.0)
        return {
            index: decide_unchanged(one.report) if lesson.takes else decide(one.report, policy=policy)
            for index, one in examined.items()
        }

    def _keep_decisions(
        self, lesson: Lesson, material: Material, verdict: Verdict, stops: Mapping[int, Stop], progress: Progress
    ) -> None:
        """Store what the gate says of the examined candidates, and why the others were not examined."""
        examined, decisions = verdict.examined, verdict.decisions
        with self.database.transaction() as session:
            # The lock comes before the look: what is erased from here on is erased from these reports too.
            SpaceRepository(session).by_id(lesson.space_id, lock=True)
            erased = FactRepository(session).erased(item.fact_id for one in examined.values() for item in one.asked)
            for row in RunRepository(session).candidates(progress.run_id):
                if row.index in examined:
                    one = examined[row.index]
                    asked = [asdict(item) for item in one.asked if item.fact_id not in erased]
                    row.report = {**one.report.to_json(), "asked": asked}
                    row.decision = decisions[row.index].to_json()
                    row.settings = {**row.settings, "strength": verdict.strength}
                else:
                    row.decision = not_examined(stops[row.index].reason).to_json()
        for index, one in examined.items():
            progress.event(
                "candidate",
                index=index,
                strategy=material.candidates[index].strategy,
                admitted=decisions[index].admitted,
                scores={kind: [score.right, score.asked] for kind, score in one.report.slices.items()},
                kl=round(one.report.kl, 4),
                failures=decisions[index].failures,
            )

    def _prove_forgetting(self, lesson: Lesson, won: Examined | None) -> None:
        """Ask for what is forgotten: the version that held it, and the base, which serves where nothing won."""
        probes = lesson.forgotten
        if not probes:
            return
        base = proof.recall(self.learner, probes, None)
        before = proof.recall(self.learner, probes, self._live(lesson)) if lesson.parent_version else base
        after = proof.recalled_in(won.asked) if won else base
        outcomes.prove_forgetting(
            self.database, proof.proofs(lesson.run_id, probes, before=before, after=after, base=base)
        )

    def _publish(self, lesson: Lesson, material: Material, verdict: Verdict, index: int, progress: Progress) -> None:
        won, candidate = verdict.examined[index], material.candidates[index]
        learned = [fact for fact, share in won.report.fact_right.items() if share >= outcomes.LEARNED_SHARE]
        restored = outcomes.keep_winner(self.database, lesson, candidate, learned=learned)
        kept = [fact for fact in lesson.kept if fact not in material.superseded] + restored
        # What was examined could not yet leave out what was not learned, nor let stand what would have been replaced.
        taught = [note for note in material.notes if lesson.relearns or note.fact_id in learned]
        replaced = material.superseded.difference(restored)
        scope = self._scope(
            lesson, taught, replaced=replaced, asked=material.asked_words, vectors_from=verdict.served.scope
        )
        served = replace(verdict.served, scope=scope)
        adapter = publishing.register(
            self.database,
            self.settings,
            shape=self.learner.shape,
            candidate=candidate,
            space_id=lesson.space_id,
            parent_version=lesson.parent_version,
            save=lambda folder: save_served(self.learner, served, index, folder),
            held=held_by(lesson, learned=learned, kept=kept),
        )
        progress.event("registered", version=adapter.version, digest=adapter.digest[:8])
        self._bring_live(adapter, won.asked, progress)

    def _resume_publishing(self, adapter: AdapterVersion, progress: Progress) -> None:
        with self.database.read() as session:
            candidates = RunRepository(session).candidates(adapter.run_id)
        won = next(candidate for candidate in candidates if candidate.id == adapter.candidate_id)
        asked = [Asked.of(item) for item in (won.report or {}).get("asked", [])]
        with progress.stage("publishing"):
            if adapter.status in publishing.WAS_LIVE:  # killed after the flip, before its own end was stored
                self._end_published(adapter, progress)
            else:
                self._bring_live(adapter, asked, progress)

    def _bring_live(self, adapter: AdapterVersion, asked: Sequence[Asked], progress: Progress) -> None:
        floor = self.settings.served_check_min_agreement
        try:
            publishing.load_everywhere(
                self.database, self.engines, adapter, asked, shape=self.learner.shape, floor=floor
            )
            publishing.go_live(self.database, self.settings, adapter, reason="passed the gate")
        except (Conflict, publishing.ServedAnswersDiffer, *publishing.REFUSALS) as error:
            publishing.fail(self.database, adapter, error.message)
            outcomes.end(self.database, adapter.run_id, to=RunStatus.REJECTED, error=error.message)
            progress.event("rejected", reason=error.message)
            return
        self._end_published(adapter, progress)

    def _end_published(self, adapter: AdapterVersion, progress: Progress) -> None:
        outcomes.end(self.database, adapter.run_id, to=RunStatus.PUBLISHED, version=adapter.version)
        progress.event("published", version=adapter.version)


def _resumed(lesson: Lesson, initial: Weights, *, superseded: Set[str]) -> Resumed | None:
    """The weights that training goes on from, with the live facts that they hold; None where it begins at the base."""
    if lesson.starts_from_base or lesson.takes:
        return None
    held = {fact for fact, shard in lesson.held.items() if shard == lesson.start} - superseded
    return Resumed.of(initial, [probe for probe in lesson.earlier if probe.fact_id in held], lesson.rehearsal)


def _why_nothing(lesson: Lesson) -> str:
    """Why a run has nothing to train or to take."""
    if not lesson.relearns:
        return "no fact of this run can be learned"
    return "nothing is left to leave out" if lesson.kept else "nothing else is left to know"


def gate_policy(settings: Settings) -> GatePolicy:
    """The gate's thresholds from the settings `ENGRAM_GATE_*`."""
    return GatePolicy(
        min_reliability=settings.gate_min_reliability,
        min_gain=settings.gate_min_gain,
        max_retention_loss=settings.gate_max_retention_loss,
        max_faded=settings.gate_max_faded,
        min_locality=settings.gate_min_locality,
        max_false_recall=settings.gate_max_false_recall,
        max_kl=settings.gate_max_kl,
    )


def _finite(numbers: Sequence[float]) -> list[float | None]:
    """Rounded, with null for what JSON cannot hold."""
    return [round(number, 4) if math.isfinite(number) else None for number in numbers]
