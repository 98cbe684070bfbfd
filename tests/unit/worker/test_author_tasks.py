"""The author's line formats: what is written can be read, and what was cut off is dropped."""

import pytest

from worker.author import tasks
from worker.author.tasks import Question, read_extract, read_questions, read_rewrites, write_questions

WRITTEN = [
    Question("What is my cat called?", "Biscuit", "Your cat is called Biscuit."),
    Question("What animal is Biscuit?", "cat", "Biscuit is your cat."),
]


def test_questions_that_were_written_are_read_again() -> None:
    assert read_questions(write_questions(WRITTEN), fields=3) == WRITTEN
    probes = [Question("Who is Biscuit?", "cat")]
    assert read_questions(write_questions(probes), fields=2) == probes


@pytest.mark.parametrize("cut_at", ["What animal", "What animal is Biscuit? | cat", "What animal is Biscuit? | cat |"])
def test_line_that_was_cut_off_is_dropped_and_the_complete_ones_kept(cut_at: str) -> None:
    whole = write_questions(WRITTEN)
    output = whole[: whole.index("What animal")] + cut_at
    assert read_questions(output, fields=3) == WRITTEN[:1]


@pytest.mark.parametrize("line", ["", "  ", "no bars at all", "a | b", "a | b | c | d", "a | | c", " | | "])
def test_line_of_another_form_is_dropped(line: str) -> None:
    assert read_questions(line, fields=3) == []


def test_spaces_around_parts_and_empty_lines_do_not_count() -> None:
    output = "\n  Who is Biscuit?   |cat  |  Your cat. \n\n"
    assert read_questions(output, fields=3) == [Question("Who is Biscuit?", "cat", "Your cat.")]


def test_extract_reads_quotes_in_order_and_none_as_nothing() -> None:
    assert read_extract("My cat is Biscuit.\n\n I live in Bergen. \n") == ["My cat is Biscuit.", "I live in Bergen."]
    assert read_extract(tasks.NOTHING) == []
    assert read_extract("") == []


def test_rewrites_are_read_once_each() -> None:
    assert read_rewrites("A.\nB.\nA.\n") == ["A.", "B."]


def test_prompt_names_the_task_and_then_puts_the_text() -> None:
    messages = tasks.prompt(tasks.ANSWER, tasks.ask_answer("My cat is Biscuit.", "Who is Biscuit?"))
    assert messages == [
        {"role": "system", "content": tasks.ANSWER},
        {"role": "user", "content": "Fact: My cat is Biscuit.\nQuestion: Who is Biscuit?"},
    ]
