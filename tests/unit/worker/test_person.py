"""A statement said back to the user: whoever spoke of themselves is spoken to; all else stays as it was said."""

import pytest

from worker.person import second_person


@pytest.mark.parametrize(
    ("statement", "said_back"),
    [
        ("I am allergic to nuts", "You are allergic to nuts."),
        ("My cat is called Biscuit.", "Your cat is called Biscuit."),
        ("I was born in May, and my sister in June", "You were born in May, and your sister in June."),
        ("the flat is ours, and the debt is mine", "The flat is yours, and the debt is yours."),
        ("I'm Ann and I've a dog", "You're Ann and you've a dog."),
        ("I’m Ann", "You're Ann."),
        ("We were asked, I wasn't", "You were asked, you weren't."),
        ("MY name is ANN", "Your name is ANN."),
        ("I taught myself Norwegian", "You taught yourself Norwegian."),
    ],
)
def test_first_person_becomes_second(statement: str, said_back: str) -> None:
    assert second_person(statement) == said_back


@pytest.mark.parametrize(
    "statement",
    [
        "Tom was born in May.",
        "The meeting is at 9.",
        "Mimi is a cat.",
        "Anna's imp is called Usher.",
        "你好 我 住在 卑尔根.",
    ],
)
def test_statement_about_others_stays_as_it_is(statement: str) -> None:
    assert second_person(statement) == statement


@pytest.mark.parametrize("end", ["", ".", "!", " ...", ",", " -", " "])
def test_reply_ends_with_one_full_stop(end: str) -> None:
    assert second_person(f"I live in Bergen{end}") == "You live in Bergen."


@pytest.mark.parametrize("statement", ["", "   ", "...", "!"])
def test_nothing_said_is_nothing_said_back(statement: str) -> None:
    assert second_person(statement) == ""


def test_saying_back_keeps_names_numbers_and_accents() -> None:
    assert second_person("My aunt Zoë paid €1,250.50 at 9:30") == "Your aunt Zoë paid €1,250.50 at 9:30."
