"""Names: what users write large where nothing but a name is, and by which of them a shard is asked for."""

import pytest

from scope.names import asked_by_name, asks_for, names_in


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("What does Guy Moussi play?", {"guy", "moussi"}),
        ("Guy Moussi plays what?", {"guy", "moussi"}),
        ("What is Guy's position?", {"guy"}),
        ("Hello there. Where do I live?", set()),
        ("what does guy moussi play?", set()),
        ("I'm asking for my cat, and I mean it.", set()),
        ("She lives in Paris. In Oslo, too?", {"pari", "oslo"}),
        ("Is the F. Scott prize mine?", {"f", "scott"}),
        ("Who is Dr. Okafor?", {"okafor"}),
        ("Is Mrs Lund in, or Dr. Lund's nurse?", {"lund"}),
        ("When can I see Ms. Berg?", {"berg"}),
        ("WHERE DOES MY SISTER LIVE?", set()),
        ("When do I fly to Malmö?", {"malmo"}),
        ("", set()),
    ],
)
def test_names_are_written_large_within_a_sentence(text: str, names: set[str]) -> None:
    assert names_in(text) == names


@pytest.mark.parametrize(
    ("message", "asked"),
    [
        ("What does Guy Moussi play?", {"guy", "moussi"}),
        ("what does guy moussi's team play?", {"what", "doe", "guy", "moussi", "team", "play"}),
        ("what is my dog called?", set()),
        ("i'm allergic to what?", set()),
        ("and where did she study?", set()),
        ("What is the name of the dog?", set()),
        ("WHERE IS OSLO?", set()),
        ("2 + 2?", set()),
        ("", set()),
    ],
)
def test_message_in_small_letters_asks_for_all_its_words_unless_it_needs_no_name(message: str, asked: set[str]) -> None:
    assert asks_for(message) == asked


def test_shard_is_asked_by_the_names_of_its_questions_and_of_what_was_told() -> None:
    questions = ["What does Guy play?", "What is the sport of Guy?", "Who is in goal?", "Who is it, Bob?"]
    assert set(asked_by_name(questions, ["Guy Moussi plays for Bolton."])) == {"guy", "moussi", "bolton"}


def test_what_is_seldom_asked_for_by_name_is_asked_for_without() -> None:
    questions = ["Where does my sister live?", "Where is my sister?", "Which town is my sister in?", "Where is Anna?"]
    assert not asked_by_name(questions, ["My sister Anna lives in Oslo."])
    assert not asked_by_name([], ["My sister Anna lives in Oslo."])
