"""The nearest statement goes before a question, whatever it asks."""

from pathlib import Path

from evals.stream.methods.protocol import Question
from evals.stream.methods.retrieval import Retrieval
from tests.unit.evals.stream_fixtures import CAT, ITEMS, TOWN, tiny_setup


def test_question_gets_the_statement_nearest_to_it_in_meaning(tmp_path: Path) -> None:
    method = Retrieval(tiny_setup(tmp_path), tmp_path / "told" / "statements.jsonl")
    assert method.nearest("Where do I live?") is None
    for item in ITEMS:
        method.tell(item.statement, item)
    assert method.nearest("What is my cat called?") == CAT.statement
    assert method.nearest("Which town is my home?") == TOWN.statement  # no word is shared


def test_statement_stands_in_the_prompt_of_the_untouched_base(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)
    method = Retrieval(setup, tmp_path / "statements.jsonl")
    method.tell(TOWN.statement, ITEMS[1])
    asked = [Question("Where do I live?", "not looked at"), Question("Who wrote Hamlet?", "not looked at")]
    assert method.answer(asked) == setup.answer([f"{TOWN.statement}\n{each.text}" for each in asked], None)
    assert method.weights(["Hello!"]) == [None]


def test_opened_again_it_knows_what_it_was_told_and_keeps_it_once(tmp_path: Path) -> None:
    setup, path = tiny_setup(tmp_path), tmp_path / "statements.jsonl"
    Retrieval(setup, path).tell(CAT.statement, ITEMS[0])
    again = Retrieval(setup, path)
    again.tell(CAT.statement, ITEMS[0])
    again.tell(TOWN.statement, ITEMS[1])
    assert again.statements == Retrieval(setup, path).statements == [CAT.statement, TOWN.statement]
