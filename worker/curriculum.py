"""Decide what a learning run studies: new facts, which weights to go on from, what to rehearse, what to examine.
Reads the ledger once.
"""

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass

from sqlalchemy.orm import Session

from engram.db import Database
from engram.forgetting import forget_unserved
from engram.lifecycle import FactStatus, RunKind, advance_fact
from engram.models import Fact, Probe, Space
from engram.repositories import AdapterRepository, FactRepository, RunRepository, SpaceRepository
from engram.routing import BASE_VERSION
from engram.similarity import content_words
from engram.statements import why_not_a_fact
from worker.self_edits import HeldOut, Note


@dataclass(frozen=True, slots=True)
class Lesson:
    """What one run works on. Notes and probes of earlier facts come from what the live version holds.

    `start`: the version whose weights, a shard of the live one, the run goes on from, or takes as they are; 0 is the
    base, where a new shard begins. `held`: the shard of each fact that the live version holds. `renewed`: the shards
    that the run's weights take the place of. `kept`: statements of the live facts by id. `rehearsal`: notes of those in
    these shards; `elsewhere`: those of all other live facts. `forgotten`: probes of what a rebuild shall leave out.
    `attempt`: 1 at first; later ones write and draw anew.
    """

    run_id: str
    space_id: str
    kind: str
    parent_version: int
    start: int
    held: Mapping[str, int]
    renewed: frozenset[int]
    attempt: int
    new: tuple[Fact, ...]
    kept: Mapping[str, str]
    given_probes: tuple[HeldOut, ...]
    rehearsal: tuple[Note, ...]
    elsewhere: tuple[Note, ...]
    earlier: tuple[HeldOut, ...]
    told: frozenset[str]
    forgotten: tuple[HeldOut, ...] = ()

    @property
    def starts_from_base(self) -> bool:
        return self.start == BASE_VERSION

    @property
    def earlier_here(self) -> tuple[HeldOut, ...]:
        """Probes of the facts whose weights this run trains anew or on."""
        return tuple(probe for probe in self.earlier if self.held.get(probe.fact_id) in self.renewed)

    @property
    def again(self) -> bool:
        """Whether a new fact was not learned at an earlier attempt."""
        return any(fact.attempts for fact in self.new)

    @property
    def consolidates(self) -> bool:
        """Whether it shall only keep, better than the live version, what that knows."""
        return self.kind == RunKind.CONSOLIDATE

    @property
    def rebuilds(self) -> bool:
        """Whether it trains a shard anew without what is forgotten: what it keeps is examined as new facts are."""
        return self.kind == RunKind.REBUILD and self.starts_from_base

    @property
    def takes(self) -> bool:
        """Whether it takes a shard's weights as they are, and leaves out whole shards: nothing is trained."""
        return self.kind == RunKind.REBUILD and not self.starts_from_base

    @property
    def relearns(self) -> bool:
        """Whether it teaches no new fact, but holds those that are live."""
        return self.kind in (RunKind.REBUILD, RunKind.CONSOLIDATE)


def plan_lesson(database: Database, run_id: str, *, facts_per_shard: int = 0) -> Lesson:
    """Read what the run needs, and reject facts that cannot be learned, with the reason.

    `facts_per_shard`: how many facts one shard may hold; 0 for any number.
    """
    with database.transaction() as session:
        runs, facts = RunRepository(session), FactRepository(session)
        run = runs.by_id(run_id)
        space = SpaceRepository(session).by_id(run.space_id)
        asked_for = facts.by_ids(runs.fact_ids(run_id))  # to be learned, or left out
        # What serves now somebody chose after this run was asked for: they want what it holds.
        is_for_another = run.kind == RunKind.REBUILD and asked_for and run.parent_version != space.live_version
        if not is_for_another:
            run.parent_version = space.live_version
        new = [fact for fact in asked_for if _can_be_learned(fact)] if run.kind == RunKind.LEARN else []
        if run.kind == RunKind.REBUILD:
            forget_unserved(session, SpaceRepository(session).by_id(space.id, lock=True))
        kept = {fact.id: fact.statement for fact in facts.with_status(space.id, FactStatus.LIVE)}
        earlier = [_held_out(p) for p in facts.probes(list(kept))]
        held = held_by_live(session, space)
        forgetting = {fact.id for fact in facts.with_status(space.id, FactStatus.FORGETTING)}
        start, dropped = BASE_VERSION, set[str]()
        if run.kind == RunKind.CONSOLIDATE:
            renewed = frozenset(held.values())
        elif run.kind == RunKind.REBUILD:
            replaced = set() if is_for_another else {fact.id for fact in asked_for}
            renewed = shards_to_rebuild(held, kept=kept.keys(), forgetting=forgetting, replaced=replaced)
            start = shard_to_take(held, renewed, kept=kept.keys(), forgetting=forgetting)
            serving = {held[fact] for fact in kept if fact in held} - renewed
            dropped = {fact for fact in forgetting if held.get(fact) not in serving}
        else:
            learned_on = shards_to_learn(held, [fact.id for fact in new], kept=kept.keys(), most=facts_per_shard)
            start, renewed = max(learned_on, default=BASE_VERSION), learned_on
        notes = [Note(n.fact_id, n.family, n.prompt, n.answer) for n in facts.notes(list(kept))]
        return Lesson(
            run_id=run_id,
            space_id=space.id,
            kind=run.kind,
            parent_version=space.live_version,
            start=start,
            held=held,
            renewed=renewed,
            attempt=run.attempts + max((fact.attempts for fact in new), default=0),
            new=tuple(new),
            kept=kept,
            given_probes=tuple(_held_out(p) for p in facts.probes([fact.id for fact in new])),
            rehearsal=tuple(note for note in notes if held.get(note.fact_id) in renewed),
            elsewhere=tuple(n for n in notes if n.fact_id in held and held[n.fact_id] not in renewed),
            earlier=tuple(earlier),
            forgotten=tuple(_held_out(p) for p in facts.probes(dropped)),
            told=frozenset().union(*map(content_words, [*(fact.statement for fact in new), *kept.values()])),
        )


def shards_to_learn(held: Mapping[str, int], new: Sequence[str], *, kept: Set[str], most: int) -> frozenset[int]:
    """The shards that what is trained takes the place of: the newest with room for new facts; none where none has.

    What was taught a fact that is learned again goes on to learn it, or the fact would be in two places. `most` 0: a
    shard has room for any number of facts.
    """
    if again := {held[fact] for fact in new if fact in held}:
        return frozenset(again)
    sizes = Counter(held.values())
    roomy = [shard for shard, size in sizes.items() if not most or size + len(new) <= most]
    alive = {shard for fact, shard in held.items() if fact in kept}
    return frozenset(sorted(alive.intersection(roomy))[-1:])


def shards_to_rebuild(
    held: Mapping[str, int], *, kept: Set[str], forgetting: Set[str], replaced: Set[str] = frozenset()
) -> frozenset[int]:
    """The shards that a rebuild takes the place of: one that holds a fact to be forgotten, the oldest of these.

    Where it held nothing else the smallest other one comes along, so that the new version has weights; and alone, where
    nothing but facts `replaced` shall be left out: no version is asked for these. All of them where only a canary holds
    a fact to be forgotten; none where there is no such fact.
    """
    alive = Counter(shard for fact, shard in held.items() if fact in kept)
    smallest = sorted(alive, key=lambda shard: (alive[shard], shard))[:1]
    first = min((held[fact] for fact in forgetting if fact in held), default=None)
    if first is not None:
        return frozenset({first} if alive[first] else {first, *smallest})
    if forgetting:
        return frozenset(held.values())
    return frozenset(smallest if held.keys() & replaced else ())


def shard_to_take(held: Mapping[str, int], renewed: Set[int], *, kept: Set[str], forgetting: Set[str]) -> int:
    """The shard among `renewed` whose weights a rebuild takes as they are, since all that they hold is kept; or 0.

    Where other facts must be kept than its, they are trained anew together.
    """
    alive = {shard for fact, shard in held.items() if fact in kept and shard in renewed}
    whole = alive - {held[fact] for fact in forgetting if fact in held}
    return whole.pop() if len(alive) == len(whole) == 1 else BASE_VERSION


def held_by_live(session: Session, space: Space) -> dict[str, int]:
    """The shard of each fact that the live version holds, by fact id."""
    adapters = AdapterRepository(session)
    live = adapters.find(space.id, space.live_version)
    return adapters.held(live.id) if live else {}


def _can_be_learned(fact: Fact) -> bool:
    if fact.status in (FactStatus.REJECTED, FactStatus.SUPERSEDED, FactStatus.FORGETTING, FactStatus.FORGOTTEN):
        return False
    if reason := why_not_a_fact(fact.statement):
        advance_fact(fact, to=FactStatus.REJECTED)
        fact.reason = reason
        return False
    advance_fact(fact, to=FactStatus.LEARNING)
    return True


def _held_out(probe: Probe) -> HeldOut:
    return HeldOut(probe.fact_id, probe.kind, probe.question, tuple(probe.answers))
