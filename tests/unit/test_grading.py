"""Free answers against gold ones."""

import pytest

from engram.grading import is_right, normalise, token_f1


@pytest.mark.parametrize(
    ("answer", "golds"),
    [
        ("Your dog is called Rufus.", ["Rufus"]),
        ("RUFUS!", ["rufus"]),
        ("It is Rufus's bed.", ["Rufus"]),
        ("He is nine years old.", ["9"]),
        ("He is 9.", ["nine"]),
        ("She lives in São Paulo.", ["Sao Paulo"]),
        ("It's “the laundry room”.", ["laundry room"]),
        ("A well-known one", ["well known"]),
        ("You owe $1,200", ["1,200"]),
        ("It is green", ["blue", "green"]),
        ("At 7:30 in the morning", ["7:30"]),
    ],
)
def test_an_answer_that_holds_a_gold_as_whole_words_is_right(answer: str, golds: list[str]) -> None:
    assert is_right(answer, golds)


@pytest.mark.parametrize(
    ("answer", "golds"),
    [
        ("", ["Rufus"]),
        ("I do not know.", ["Rufus"]),
        ("Your dog is called Rufuson.", ["Rufus"]),
        ("He is nineteen.", ["nine"]),
        ("The room for laundry", ["laundry room"]),
        ("Anything", []),
        ("Anything", [""]),
        ("the", ["the"]),
        ("You were born in 1988", ["198"]),
    ],
)
def test_an_answer_without_a_gold_is_wrong(answer: str, golds: list[str]) -> None:
    assert not is_right(answer, golds)


def test_normalising_drops_case_accents_punctuation_and_articles_and_writes_digits() -> None:
    assert normalise("The Café’s “Twenty” tables, a lot…") == ["cafe", "20", "tables", "lot"]


def test_f1_is_one_for_the_same_words_zero_for_none_and_the_best_of_the_golds() -> None:
    assert token_f1("the laundry room", ["laundry room"]) == 1.0
    assert token_f1("kitchen", ["laundry room"]) == 0.0
    assert token_f1("laundry room", ["kitchen", "laundry"]) == pytest.approx(2 / 3)
    assert token_f1("", ["x"]) == 0.0
    assert token_f1("x", []) == 0.0


def test_f1_counts_a_repeated_word_as_often_as_the_gold_has_it() -> None:
    assert token_f1("room room room room", ["room"]) == pytest.approx(0.4)
