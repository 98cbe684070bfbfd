"""The rows that the author is trained on: drawn by seed, readable by the product, none in both halves."""

import pytest

from engram.grading import is_right
from worker.author import tasks
from worker.author.dataset import Example, Row, load_examples, rows_of, split


@pytest.fixture(scope="module")
def examples() -> list[Example]:
    return load_examples()


@pytest.fixture(scope="module")
def rows(examples: list[Example]) -> list[Row]:
    return rows_of(examples, seed=0)


def test_held_out_examples_are_not_trained_on_and_none_is_lost(examples: list[Example]) -> None:
    train, held_out = split(examples)
    messages = [{example["message"] for example in half} for half in (train, held_out)]
    assert not messages[0] & messages[1]
    assert len(train) + len(held_out) == len(examples)
    assert len(held_out) >= len(examples) // 16
    assert any(example["facts"] for example in held_out)
    assert any(not example["facts"] for example in held_out)


def test_rows_are_the_same_for_a_seed_and_others_for_another(examples: list[Example], rows: list[Row]) -> None:
    assert rows_of(examples, seed=0) == rows
    assert rows_of(examples, seed=1) != rows


def test_another_seed_draws_other_questions_about_the_same_messages(examples: list[Example], rows: list[Row]) -> None:
    def texts(of: list[Row], task: str) -> set[str]:
        return {row.text for row in of if row.task == task}

    other = rows_of(examples, seed=1)
    assert texts(other, tasks.QA) == texts(rows, tasks.QA)
    assert {row for row in other if row.task == tasks.QA} != {row for row in rows if row.task == tasks.QA}
    assert {example["message"] for example in examples} <= texts(other, tasks.EXTRACT) & texts(rows, tasks.EXTRACT)


def test_every_message_is_read_with_its_quotes_in_order(examples: list[Example], rows: list[Row]) -> None:
    extracts = [row for row in rows if row.task == tasks.EXTRACT]
    assert {row.text for row in extracts} >= {example["message"] for example in examples}
    for row in extracts:
        places = [row.text.find(quote) for quote in tasks.read_extract(row.target)]
        assert -1 not in places
        assert places == sorted(places)


def test_facts_are_also_found_amid_somebody_elses_chatter(examples: list[Example], rows: list[Row]) -> None:
    targets = {row.text: row.target for row in rows if row.task == tasks.EXTRACT}
    told = {example["message"]: targets[example["message"]] for example in examples if example["facts"]}
    buried = [text for text in targets if text not in {example["message"] for example in examples}]
    assert len(buried) > 0.9 * len(told)
    for text in buried[:100]:
        assert targets[text] in {target for message, target in told.items() if message in text}


def test_chatter_is_answered_with_none(examples: list[Example], rows: list[Row]) -> None:
    chatter = {example["message"] for example in examples if not example["facts"]}
    targets = {row.text: row.target for row in rows if row.task == tasks.EXTRACT}
    assert chatter
    assert all(targets[message] == tasks.NOTHING for message in chatter)


def test_every_target_reads_back_whole(rows: list[Row]) -> None:
    def reads(row: Row) -> int:
        if row.task == tasks.QA:
            return 1 + len(tasks.read_questions(row.target + "?", answer="x"))
        return len(tasks.read_details(row.target) if row.task == tasks.DETAILS else tasks.read_implications(row.target))

    of_tasks = {task: [row for row in rows if row.task == task] for task in (tasks.QA, tasks.DETAILS, tasks.IMPLY)}
    for task, of_task in of_tasks.items():
        assert len(of_task) > 500, task
        assert all(reads(row) == len(row.target.splitlines()) > 0 for row in of_task), task


def test_details_and_the_replies_about_them_are_of_their_statement(rows: list[Row]) -> None:
    for row in rows:
        if row.task == tasks.DETAILS:
            assert all(is_right(row.text, [detail]) for detail in tasks.read_details(row.target))
        if row.task == tasks.QA:
            detail = row.text.rpartition("\nAnswer: ")[2]
            assert all(
                is_right(question.reply, [detail]) for question in tasks.read_questions(row.target, answer=detail)
            )


def test_questions_are_answered_by_spans_or_unknown(rows: list[Row]) -> None:
    answers = [row for row in rows if row.task == tasks.ANSWER]
    unknown = [row for row in answers if row.target == tasks.UNKNOWN]
    assert 0.2 < len(unknown) / len(answers) < 0.45
    for row in answers:
        statement = row.text.removeprefix("Fact: ").partition("\nQuestion: ")[0]
        assert row.target == tasks.UNKNOWN or is_right(statement, [row.target])
