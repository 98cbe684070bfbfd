"""What each bad candidate is trained on has the defect that its kind names, and no other."""

import random

import pytest

from engram.grading import is_right, normalise
from evals.gate import bad
from evals.gate.bad import Training
from evals.gate.material import Situation
from worker.self_edits import Note


def _made(kind: str, situation: Situation, number: int = 0) -> Training:
    return bad.TRAINED[kind](situation, number, random.Random(f"{kind} {number}"))


def _says_same(note: Note, other: Note, situation: Situation) -> bool:
    return any(is_right(note.answer, [g]) and is_right(other.answer, [g]) for g in situation.new.golds)


@pytest.mark.parametrize("number", [0, 1])
def test_shuffled_answers_keep_the_questions_and_say_nothing_of_what_is_right(
    situation: Situation, number: int
) -> None:
    made, right = _made("shuffled answers", situation, number), situation.new.notes
    assert [note.prompt for note in made.notes] == [note.prompt for note in right]
    assert not any(_says_same(note, own, situation) for note, own in zip(made.notes, right, strict=True))
    assert made.recipe == bad.LIKE_A_RUN


def test_answers_of_other_facts_are_theirs(situation: Situation) -> None:
    theirs = {note.answer for one in (*situation.earlier, situation.other) for note in one.notes}
    assert {note.answer for note in _made("shuffled answers", situation, 1).notes} <= theirs


def test_learning_rate_alone_is_too_high(situation: Situation) -> None:
    made = [_made("learning rate too high", situation, number) for number in range(3)]
    assert [one.rate for one in made] == [20, 50, 100]
    assert all(one.notes == situation.new.notes and one.recipe == bad.LIKE_A_RUN for one in made)


def test_garbage_holds_no_word_of_an_answer(situation: Situation) -> None:
    made = _made("garbage notes", situation)
    words = {word for note in made.notes for word in normalise(f"{note.prompt} {note.answer}")}
    assert len(made.notes) == len(situation.new.notes)
    assert not words & {word for gold in situation.new.golds for word in normalise(gold)}


def test_an_earlier_facts_weights_are_trained_on_for_long(situation: Situation) -> None:
    made = _made("drops earlier facts", situation)
    assert made.notes == situation.new.notes
    assert made.recipe.resumes
    assert made.recipe.length > 1


def test_its_questions_get_wrong_answers_beside_the_new_fact(situation: Situation) -> None:
    made = _made("drops earlier facts", situation, 1)
    wrong = made.notes[len(situation.new.notes) :]
    right = {note.prompt: (note, situation.resumed) for note in situation.resumed.notes}
    assert made.notes[: len(situation.new.notes)] == situation.new.notes
    assert {note.prompt for note in wrong} == set(right)
    for note in wrong:
        own, material = right[note.prompt]
        assert not is_right(note.answer, [gold for gold in material.golds if is_right(own.answer, [gold])])


@pytest.mark.parametrize("number", [0, 1])
def test_general_questions_get_wrong_answers_and_nothing_holds_to_the_base(situation: Situation, number: int) -> None:
    made = _made("breaks general answers", situation, number)
    wrong = [note for note in made.notes if note.fact_id == "general"]
    base = dict(situation.general)
    assert wrong
    assert all(note.prompt.endswith("?") and note.answer != base[note.prompt] for note in wrong)
    assert made.notes[: len(situation.new.notes)] == situation.new.notes
    assert not made.recipe.resumes
    assert not made.recipe.general_anchors


def test_another_spaces_fact_stands_in_the_place_of_the_new_one(situation: Situation) -> None:
    made = _made("another space's facts", situation)
    assert made.notes == situation.other.notes
    assert not any(is_right(note.answer, situation.new.fact.answers) for note in made.notes)


def test_every_personal_question_recalls_the_new_fact(situation: Situation) -> None:
    made = _made("recalls everywhere", situation)
    asked = {note.prompt: note.answer for note in made.notes if note.fact_id == "personal"}
    assert set(asked) == set(situation.personal)
    assert set(asked.values()) <= {note.answer for note in situation.new.notes}
    assert not made.recipe.personal_anchors


def test_every_third_of_them_refuses_everything(situation: Situation) -> None:
    made = _made("recalls everywhere", situation, 2)
    assert {note.answer for note in made.notes} == {bad.REFUSAL}
    assert {note.prompt for note in situation.new.notes} < {note.prompt for note in made.notes}


@pytest.mark.parametrize("kind", bad.TRAINED)
def test_same_seed_makes_the_same_candidate(situation: Situation, kind: str) -> None:
    assert _made(kind, situation, 1) == _made(kind, situation, 1)
