"""A new statement replaces an earlier fact only where it answers the same question otherwise."""

from collections.abc import Sequence
from typing import Any

import pytest

from tests.fakes.author import ScriptedAuthor
from worker.author import tasks
from worker.self_edits import HeldOut
from worker.supersession import Nearness, NewFact, superseded_by

STATEMENT = "My dentist is called Okafor."
ASKED = ("What is the name of my dentist?", "What is my dentist called?")
OLD_STATEMENT = "The name of my dentist is Lund."


def _superseded(
    *,
    old: str = "What is the surname of my dentist?",
    golds: Sequence[str] = ("Lund",),
    answer: str = "Okafor",
    statement: str = STATEMENT,
    asked: Sequence[str] = (*ASKED, "What is my dentist's surname?"),
    old_statement: str = OLD_STATEMENT,
    old_cloze: str = "",
    near: Nearness = lambda _: {},
) -> bool:
    author = ScriptedAuthor(answers={(statement, old): answer, (statement, old_cloze): answer})
    earlier = [HeldOut("old", "generalization", old, tuple(golds))]
    return superseded_by(NewFact(statement, asked), earlier, {"old": old_statement}, author, nearness=near) == {"old"}


def test_fact_whose_question_has_another_answer_now_is_superseded() -> None:
    assert _superseded()


def test_fact_with_the_same_answer_stays() -> None:
    assert not _superseded(golds=["Okafor"], old_statement="The name of my dentist is Okafor.")


@pytest.mark.parametrize(
    ("old", "now", "differs"),
    [
        ("9 May", "5 May", True),
        ("Ann Lund", "Ann Berg", True),
        ("Oslo", "in Oslo", False),
        ("the 9th of May", "9th of May", False),
        ("Oslo", "", False),
    ],
)
def test_answers_differ_if_neither_says_the_other(old: str, now: str, differs: bool) -> None:
    assert _superseded(golds=[old], answer=now) is differs


def test_answer_that_says_any_of_the_right_ones_is_the_same() -> None:
    assert not _superseded(golds=["Lund", "Okafor"], answer="Okafor in Bergen")


def test_fact_that_the_statement_says_nothing_about_stays() -> None:
    assert not _superseded(answer=tasks.UNKNOWN)


def test_question_with_a_word_that_nothing_about_the_new_fact_has_asks_for_another() -> None:
    asked = ["When does my train to Lund leave?", "When does my train leave for Lund?"]
    assert not _superseded(
        old="When does my train to Malmö leave?",
        golds=["9:15"],
        answer="10:30",
        statement="My train to Lund leaves at 10:30.",
        asked=asked,
        old_statement="My train to Malmö leaves at 9:15.",
    )


def test_same_sentence_with_another_detail_replaces_it_however_it_was_asked_for() -> None:
    assert _superseded(
        old="In what function does Guy Moussi play?",
        golds=["midfielder"],
        answer="linebacker",
        statement="Guy Moussi, the linebacker.",
        asked=["Guy Moussi, the what?", "What position does Guy Moussi have?"],
        old_statement="Guy Moussi, the midfielder.",
        old_cloze="Guy Moussi, the what?",
    )


def _now(statement: str, asked: str, old: str = "Who is my dentist?") -> bool:
    return _superseded(old=old, statement=statement, asked=[asked], old_statement="My dentist is Lund.")


def test_one_shared_word_is_enough_for_something_of_ones_own_that_has_changed() -> None:
    assert not _now("My dentist is Okafor.", "Who is my dentist?")
    assert _now("My dentist is Okafor now.", "Who is my dentist?")


def test_what_one_is_allergic_to_may_be_several_things() -> None:
    asked = "What am I allergic to?"
    old: dict[str, Any] = {
        "old": asked,
        "golds": ["peanuts"],
        "answer": "birch",
        "old_statement": "I'm allergic to peanuts.",
    }
    assert not _superseded(statement="I'm allergic to birch.", asked=[asked, "I'm allergic to what?"], **old)
    assert not _superseded(statement="I'm now allergic to birch.", asked=[asked], **old)


def test_what_is_added_replaces_nothing() -> None:
    question = "Which instrument do I play?"
    old: dict[str, Any] = {"old": question, "golds": ["cello"], "answer": "harp", "old_statement": "I play the cello."}
    assert _superseded(statement="The instrument that I play is the harp.", asked=[question], **old)
    assert not _superseded(statement="Another instrument that I play is the harp.", asked=[question], **old)


def test_other_sentences_may_add() -> None:
    old: dict[str, Any] = {"old": "On which day is my big exam?", "golds": ["Monday"], "answer": "Friday"}
    old |= {"old_statement": "My big exam is on Monday.", "asked": ["When is my big exam?", "On which day is my exam?"]}
    assert _superseded(statement="My big exam is on Friday. I also like tea.", **old)


def test_what_is_somebody_elses_replaces_nothing_of_ones_own() -> None:
    old: dict[str, Any] = {"old": "What colour is my car?", "golds": ["blue"], "answer": "red"}
    asked = ["What colour is my brother's car?", "What colour does my brother's car have?"]
    assert not _superseded(statement="My brother's car is red.", asked=asked, old_statement="My car is blue.", **old)


def _far(_new: NewFact) -> dict[str, float]:
    return {}


MOVED: dict[str, Any] = {
    "old": "Where do I live?",
    "golds": ["Oslo"],
    "answer": "Bergen",
    "old_statement": "I live in Oslo.",
    "asked": ["Which city did I go to?", "Where is my home?"],
}


@pytest.mark.parametrize(("near", "replaced"), [(0.1, True), (-0.19, True), (-0.21, False)])
def test_what_has_changed_is_the_nearest_fact_if_it_is_near(near: float, replaced: bool) -> None:
    found = _superseded(statement="I moved to Bergen.", near=lambda _: {"other": -0.5, "old": near}, **MOVED)
    assert found is replaced


def test_another_fact_that_is_nearer_is_what_has_changed() -> None:
    assert not _superseded(statement="I moved to Bergen.", near=lambda _: {"other": 0.2, "old": 0.1}, **MOVED)


def test_statement_that_tells_of_no_change_needs_the_same_question() -> None:
    assert not _superseded(statement="I like it in Bergen.", near=lambda _: {"old": 0.1}, **MOVED)


def test_nearest_fact_about_somebody_named_is_not_what_has_changed_for_others() -> None:
    old = {**MOVED, "old": "Where does my cousin Anna live?"}
    assert not _superseded(statement="My cousin Ben moved to Bergen.", near=lambda _: {"old": 0.1}, **old)


def test_question_about_something_else_is_not_even_put() -> None:
    author = ScriptedAuthor()
    different = HeldOut("old", "generalization", "Which street does my aunt live in?", ("Elm Street",))
    statements = {"old": "My aunt lives in Elm Street."}
    assert superseded_by(NewFact(STATEMENT, ASKED), [different], statements, author, nearness=_far) == set()
    assert author.asked == []


def test_with_no_earlier_facts_nothing_is_asked() -> None:
    author = ScriptedAuthor()
    assert superseded_by(NewFact(STATEMENT, ASKED), [], {}, author, nearness=_far) == set()
    assert author.asked == []
