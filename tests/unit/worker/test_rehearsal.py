"""Rehearsal material: every detail has the same share, and no note is lost."""

from collections import Counter

from worker.rehearsal import evenly
from worker.self_edits import Note

MUCH = [Note("fact_1", "qa", f"question {number}", "Your cat is called Biscuit.") for number in range(5)]
LITTLE = [Note("fact_2", "qa", "Where do I live?", "You live in Bergen.")]
RESTATED = [
    Note("fact_2", "rewrite", "Tell me about Bergen.", line) for line in ("You live in Bergen.", "Bergen is home.")
]


def test_each_detail_gets_as_many_notes_as_the_one_with_most_and_all_its_own() -> None:
    even = evenly([*MUCH, *LITTLE, *RESTATED])
    assert Counter((note.fact_id, note.family) for note in even) == {
        ("fact_1", "qa"): 5,
        ("fact_2", "qa"): 5,
        ("fact_2", "rewrite"): 5,
    }
    assert set(even) == {*MUCH, *LITTLE, *RESTATED}


def test_the_same_reply_of_two_facts_is_two_details() -> None:
    same = [Note("fact_3", "qa", "What is my cat called?", MUCH[0].answer)]
    assert Counter(note.fact_id for note in evenly([*MUCH, *same])) == {"fact_1": 5, "fact_3": 5}


def test_nothing_to_rehearse() -> None:
    assert evenly([]) == []
