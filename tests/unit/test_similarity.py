"""When two questions are nearly the same, and which words carry a question."""

import pytest

from engram.similarity import content_terms, content_words, is_near_copy, same_words


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("What is my dog called?", "what is my dog called"),
        ("What is my dog called?", "What is my dog called"),
        (
            "Where does my older sister Ingrid have her bread bakery?",
            "So where does my older sister Ingrid have her bread bakery?",
        ),
    ],
)
def test_nearly_the_same_words_in_the_same_order_are_a_near_copy(first: str, second: str) -> None:
    assert is_near_copy(first, second)
    assert is_near_copy(second, first)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Where does my sister live?", "My sister, where does she live?"),
        ("What is my dog called?", "Which name does our beagle answer to?"),
        ("What is my dog called?", "What is my cat called?"),
        ("", "What is my dog called?"),
        ("", ""),
    ],
)
def test_the_same_question_asked_differently_is_no_near_copy(first: str, second: str) -> None:
    assert not is_near_copy(first, second)


def test_same_words_ignores_case_and_punctuation_but_not_order() -> None:
    assert same_words("My dog's name: Rufus!", "my dog name rufus")
    assert not same_words("Rufus is my dog", "My dog is Rufus")


def test_content_words_are_what_is_left_of_a_question_in_singular() -> None:
    assert content_words("Can you tell me what my dogs are called?") == {"dog", "called"}
    assert content_words("What is it?") == frozenset()


def test_content_terms_stand_as_often_as_they_were_said() -> None:
    assert content_terms("My dogs chase dogs.") == ["dog", "chase", "dog"]
