"""The author's line formats: what is written can be read, and what was cut off is dropped."""

import pytest

from worker.author import tasks
from worker.author.tasks import (
    Question,
    read_details,
    read_extract,
    read_implications,
    read_questions,
    read_rewrites,
    write_implications,
    write_questions,
)

REPLY = "Your cat is called Biscuit."
ASKED = ["What is my cat called?", "Tell me the name of my cat."]


def test_questions_that_were_written_are_read_again_each_with_the_reply() -> None:
    read = read_questions(write_questions(REPLY, ASKED), answer="Biscuit")
    assert read == [Question(question, "Biscuit", REPLY) for question in ASKED]


def test_question_that_was_cut_off_is_dropped_and_the_complete_ones_kept() -> None:
    read = read_questions(write_questions(REPLY, ASKED) + "\nWhat animal", answer="Biscuit")
    assert [question.question for question in read] == ASKED


@pytest.mark.parametrize("output", ["", " \n ", REPLY])
def test_output_without_a_question_has_none(output: str) -> None:
    assert read_questions(output, answer="Biscuit") == []


def test_details_are_read_in_order_once_each() -> None:
    assert read_details(" Biscuit\n\n7 \nBiscuit") == ["Biscuit", "7"]


def test_implications_that_were_written_are_read_again_and_the_reply_is_the_answer() -> None:
    implied = [Question("Do I have a pet?", "Yes, a cat."), Question("Is it a dog?", "No, a cat.")]
    read = read_implications(write_implications(implied))
    assert read == [Question(item.question, item.answer, item.answer) for item in implied]


@pytest.mark.parametrize("line", ["", "  ", "no bars at all", "a | b | c", "a | ", " | "])
def test_implication_of_another_form_is_dropped(line: str) -> None:
    assert read_implications(f"Do I have a pet? | Yes, a cat.\n{line}") == [
        Question("Do I have a pet?", "Yes, a cat.", "Yes, a cat.")
    ]


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
