"""The nearest statement goes before a question; a question that shares no word with any is asked bare."""

from pathlib import Path

import pytest

from evals.stream.bm25 import Bm25
from evals.stream.methods.protocol import Question
from evals.stream.methods.retrieval import Retrieval
from evals.stream.methods.untrained import Base
from tests.unit.evals.stream_fixtures import CAT, ITEMS, TOWN, tiny_setup


def _bm25(*texts: str) -> Bm25:
    index = Bm25()
    for text in texts:
        index.add(text)
    return index


def test_score_is_that_of_the_formula() -> None:
    """Two texts of 2 and 4 content words, mean 3; 'cat' stands in one: weight ln(1 + 1.5 / 1.5), length share 0.75."""
    scores = _bm25("cats purr", "dogs bark all night").scores("Which cat?")
    assert scores == [pytest.approx(0.6931 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 2 / 3)), abs=1e-4), 0.0]


def test_rare_words_count_more_and_long_texts_less() -> None:
    index = _bm25("my cat sleeps", "my cat eats", "my dog eats", "my cat eats tuna and salmon on the sofa at night")
    sleeps, eats, dog, long = index.scores("What does my cat eat?")
    assert eats > sleeps == dog > 0
    assert eats > long > 0


def test_no_text_has_no_score() -> None:
    assert _bm25().scores("Which cat?") == []
    assert _bm25("it is").scores("Which cat?") == [0.0]


def test_question_gets_the_statement_it_shares_most_with(tmp_path: Path) -> None:
    method = Retrieval(tiny_setup(tmp_path), tmp_path / "told" / "statements.jsonl")
    for item in ITEMS:
        method.tell(item.statement, item)
    assert method.nearest("What is my cat called?") == CAT.statement
    assert method.nearest("Where do I live?") == TOWN.statement
    assert method.nearest("Who wrote Hamlet?") is None


def test_of_equally_near_statements_the_latest_is_taken(tmp_path: Path) -> None:
    method = Retrieval(tiny_setup(tmp_path), tmp_path / "statements.jsonl")
    for town in ("Bergen", "Oslo"):
        method.tell(f"I live in {town}.", ITEMS[1])
    assert method.nearest("Where do I live?") == "I live in Oslo."


def test_statement_stands_in_the_prompt_of_the_untouched_base(tmp_path: Path) -> None:
    setup = tiny_setup(tmp_path)
    method = Retrieval(setup, tmp_path / "statements.jsonl")
    method.tell(TOWN.statement, ITEMS[1])
    asked = [Question("Where do I live?", "not looked at"), Question("Who wrote Hamlet?", "not looked at")]
    assert method.answer(asked) == setup.answer([f"{TOWN.statement}\nWhere do I live?", "Who wrote Hamlet?"], None)
    assert method.answer(asked)[1] == Base(setup).answer(asked)[1]
    assert method.weights() is None


def test_opened_again_it_knows_what_it_was_told_and_keeps_it_once(tmp_path: Path) -> None:
    setup, path = tiny_setup(tmp_path), tmp_path / "statements.jsonl"
    Retrieval(setup, path).tell(CAT.statement, ITEMS[0])
    again = Retrieval(setup, path)
    again.tell(CAT.statement, ITEMS[0])
    again.tell(TOWN.statement, ITEMS[1])
    assert again.statements == Retrieval(setup, path).statements == [CAT.statement, TOWN.statement]
