"""Rehearse every detail equally often, however many notes were written about it. Pure: no I/O.

Drawn note by note, a fact of thirty notes is rehearsed six times as often as one of five, and the one of five
is forgotten.
"""

from collections.abc import Hashable, Sequence
from itertools import cycle, islice

from worker.self_edits import Note

RESTATED = "rewrite"


def evenly(notes: Sequence[Note]) -> list[Note]:
    """The notes, each detail's repeated in turn until all details have as many as the one with most."""
    details: dict[Hashable, list[Note]] = {}
    for note in notes:
        details.setdefault(_detail(note), []).append(note)
    most = max(map(len, details.values()), default=0)
    return [note for about in details.values() for note in islice(cycle(about), most)]


def _detail(note: Note) -> Hashable:
    """Questions with one reply are about one detail of a fact; its restatements count as one detail together."""
    return note.fact_id, RESTATED if note.family == RESTATED else note.answer
