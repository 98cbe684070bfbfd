"""Spelling: names that the author copied with a slip are put right; other words stay as they are."""

import pytest

from worker.spelling import respell_names, respell_quote

STATEMENT = "My parrot is called Ptolemy and my cousin Hannah plays the theremin."


@pytest.mark.parametrize(
    ("text", "right"),
    [
        ("Ptolema", "Ptolemy"),
        ("Ptolema is your parrot.", "Ptolemy is your parrot."),
        ("Who is Hanna's parrot, Ptolomy?", "Who is Hannah's parrot, Ptolemy?"),
    ],
)
def test_slip_in_a_name_is_put_right(text: str, right: str) -> None:
    assert respell_names(text, STATEMENT) == right


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        ("Your parrot is called Ptolemy.", STATEMENT),
        ("Does he play the theremins?", STATEMENT),  # no name: grammar, not a slip
        ("Where is it?", "There is a key under the mat."),
        ("Your dog is Rex.", "My dog is Max."),
        ("Anna and Hanna", "My sisters are Anna and Hanna."),
        ("Bob", "Rob"),
        ("5521", "The code is 5512."),
        ("", STATEMENT),
    ],
)
def test_other_words_stay(text: str, statement: str) -> None:
    assert respell_names(text, statement) == text


def test_words_of_a_quote_become_those_of_the_message() -> None:
    assert (
        respell_quote("My parot is called Ptolema", "Hi! My parrot is called Ptolemy.") == "My parrot is called Ptolemy"
    )


def test_invented_words_of_a_quote_stay() -> None:
    assert respell_quote("My cat is called Muffin", "My cat is called Biscuit.") == "My cat is called Muffin"
