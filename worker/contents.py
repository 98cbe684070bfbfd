"""Decide what a version holds: which shard each fact is in, and what each shard is known to say. Pure: no I/O."""

from collections.abc import Iterable, Set

from engram.routing import OWN_SHARD
from worker.curriculum import Lesson


def held_by(lesson: Lesson, *, learned: Iterable[str], kept: Iterable[str]) -> dict[str, int]:
    """The shard that holds each fact once the run is published, by fact id; 0 for the run's own weights.

    A fact that was superseded is held for as long as weights serve that were taught it.
    """
    after = {fact: OWN_SHARD if shard in lesson.renewed else shard for fact, shard in lesson.held.items()}
    serving = {OWN_SHARD, *(after[fact] for fact in kept if fact in after)}
    if lesson.relearns:
        # Weights that are taken were taught all that they hold, what is superseded too; others only what is kept.
        own = {fact for fact, shard in lesson.held.items() if shard == lesson.start} if lesson.takes else set(kept)
        after = {fact: shard for fact, shard in after.items() if shard != OWN_SHARD or fact in own}
    held = {fact: shard for fact, shard in after.items() if shard in serving}
    return {**held, **dict.fromkeys(learned, OWN_SHARD)}


def said_by_shard(lesson: Lesson, *, taught: Set[str], replaced: Set[str]) -> dict[int, list[str]]:
    """The statements that each shard of the new version holds: of the new facts those `taught`, of the live ones those
    not `replaced`."""
    said = {OWN_SHARD: [fact.statement for fact in lesson.new if fact.id in taught]}
    for fact, shard in lesson.held.items():
        if fact in lesson.kept and fact not in replaced:
            said.setdefault(OWN_SHARD if shard in lesson.renewed else shard, []).append(lesson.kept[fact])
    return said
