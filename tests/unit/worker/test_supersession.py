"""A new statement replaces an earlier fact only where it answers the same question otherwise."""

import pytest

from tests.fakes.author import ScriptedAuthor
from worker.author import tasks
from worker.self_edits import HeldOut
from worker.supersession import superseded_by

STATEMENT = "My dentist is now Okafor in Bergen."
OWN = [HeldOut("new", "generalization", "Who is my dentist?", ("Okafor",))]
OLD = "What is the name of my dentist now?"


def _probe(question: str, *answers: str) -> HeldOut:
    return HeldOut("old", "generalization", question, answers)


def _superseded(earlier: HeldOut, answer: str, own: list[HeldOut]) -> set[str]:
    author = ScriptedAuthor(answers={(STATEMENT, earlier.question): answer})
    return superseded_by(STATEMENT, own, [earlier], author)


OWN_NAMED = [HeldOut("new", "generalization", "What is my dentist's surname and name?", ("Okafor",))]


def test_fact_whose_question_has_another_answer_now_is_superseded() -> None:
    earlier = _probe("What is the surname and name of my dentist?", "Lund")
    assert _superseded(earlier, "Okafor", OWN_NAMED) == {"old"}


def test_fact_with_the_same_answer_stays() -> None:
    earlier = _probe("What is the surname and name of my dentist?", "Okafor")
    assert _superseded(earlier, "Okafor", OWN_NAMED) == set()


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
    earlier = _probe("What is the surname and name of my dentist?", old)
    assert _superseded(earlier, now, OWN_NAMED) == ({"old"} if differs else set())


def test_answer_that_says_any_of_the_right_ones_is_the_same() -> None:
    earlier = _probe("What is the surname and name of my dentist?", "Lund", "Okafor")
    assert _superseded(earlier, "Okafor in Bergen", OWN_NAMED) == set()


def test_fact_that_the_statement_says_nothing_about_stays() -> None:
    earlier = _probe("What is the surname and name of my dentist?", "Lund")
    assert _superseded(earlier, tasks.UNKNOWN, OWN_NAMED) == set()


def test_question_about_something_else_is_not_even_put() -> None:
    earlier = _probe("What is the surname and name of my vet?", "Lund")
    author = ScriptedAuthor(answers={(STATEMENT, earlier.question): "Okafor"})
    different = _probe("Which street does my aunt live in?", "Elm Street")
    assert superseded_by(STATEMENT, OWN, [different, earlier], author) == set()
    assert author.asked == []


def test_one_shared_word_is_not_enough() -> None:
    assert _superseded(_probe(OLD, "Lund"), "Okafor", OWN) == set()


def test_with_no_earlier_facts_nothing_is_asked() -> None:
    author = ScriptedAuthor()
    assert superseded_by(STATEMENT, OWN, [], author) == set()
    assert author.asked == []
