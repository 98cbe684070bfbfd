"""Every format is read into the same facts and probes, and a row that does not fit is named."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.stream.datasets import Dataset, Item, Kind, Probe, draw, plain_sentence, read
from evals.stream.rows import DatasetError
from evals.told_once import FACTS

TOLD_ONCE = {
    "id": "t1",
    "message": "hi, my cat is called Biscuit",
    "statement": "my cat is called Biscuit",
    "probes": [{"question": "What is my cat called?", "answer": "Biscuit", "aliases": ["biscuit the cat"]}],
}
WIKIDYK = {
    "id": 7,
    "fact": "that Ada 's cat (pictured) sang at the Met?",
    "input": "Whose cat sang at the Met?",
    "output": "Ada",
    "year": "2022",
}
ZSRE = {
    "subject": "Ada",
    "src": "Where did Ada study?",
    "rephrase": "What was Ada's university?",
    "alt": "Uppsala",
    "loc": "nq question: who played the dead guy in the big chill",
    "loc_ans": "Kevin Costner",
}
COUNTERFACT = {
    "case_id": 1,
    "prompt": "The Louvre is located in",
    "target_new": "Rome",
    "ground_truth": "Paris",
    "rephrase_prompt": "The Louvre stands in",
    "locality_prompt": "The Prado is located in",
    "locality_ground_truth": "Madrid",
}
SQUAD = {
    "title": "Force",
    "context": "A force acts. Friction opposes it.",
    "questions": [{"question": "What opposes a force?", "answer": "Friction"}],
}
EXPECTED = {
    Dataset.TOLD_ONCE: (
        TOLD_ONCE,
        Item("my cat is called Biscuit", (Probe("What is my cat called?", ("Biscuit", "biscuit the cat")),)),
    ),
    Dataset.WIKIDYK: (WIKIDYK, Item("Ada's cat sang at the Met.", (Probe("Whose cat sang at the Met?", ("Ada",)),))),
    Dataset.ZSRE: (
        ZSRE,
        Item(
            "Where did Ada study? Uppsala.",
            (
                Probe("Where did Ada study?", ("Uppsala",)),
                Probe("What was Ada's university?", ("Uppsala",), Kind.REPHRASED),
                Probe("who played the dead guy in the big chill?", ("Kevin Costner",), Kind.UNRELATED),
            ),
        ),
    ),
    Dataset.COUNTERFACT: (
        COUNTERFACT,
        Item(
            "The Louvre is located in Rome.",
            (
                Probe("The Louvre is located in", ("Rome",)),
                Probe("The Louvre stands in", ("Rome",), Kind.REPHRASED),
                Probe("The Prado is located in", ("Madrid",), Kind.UNRELATED),
            ),
        ),
    ),
    Dataset.SQUAD: (
        SQUAD,
        Item("A force acts. Friction opposes it.", (Probe("What opposes a force?", ("Friction",)),), title="Force"),
    ),
}


def _file(folder: Path, *rows: Any) -> Path:
    path = folder / "set.json"
    path.write_text(json.dumps(rows))
    return path


@pytest.mark.parametrize("dataset", Dataset)
def test_each_format_becomes_facts_and_probes(dataset: Dataset, tmp_path: Path) -> None:
    row, item = EXPECTED[dataset]
    assert read(dataset, _file(tmp_path, row, row)) == [item, item]


def test_one_object_a_line_is_read_as_well_as_an_array(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(f"{json.dumps(SQUAD)}\n\n{json.dumps(SQUAD)}\n")
    assert len(read(Dataset.SQUAD, path)) == 2


def test_the_shipped_set_is_read(tmp_path: Path) -> None:
    items = read(Dataset.TOLD_ONCE, FACTS)
    assert len(items) == 40
    assert all(len(item.graded) == 3 and not item.unrelated for item in items)


@pytest.mark.parametrize(
    ("dataset", "row", "complaint"),
    [
        (Dataset.ZSRE, {key: value for key, value in ZSRE.items() if key != "alt"}, "'alt' is missing"),
        (Dataset.ZSRE, {**ZSRE, "alt": "  "}, "'alt' is not a text"),
        (Dataset.WIKIDYK, {**WIKIDYK, "output": ["Ada"]}, "'output' is not a text: ['Ada']"),
        (Dataset.WIKIDYK, ZSRE, "'fact' is missing; it has 'subject'"),
        (Dataset.SQUAD, {**SQUAD, "questions": []}, "'questions' is not a list with at least one entry"),
        (Dataset.SQUAD, {**SQUAD, "questions": ["What?"]}, "it is a str, not an object"),
        (Dataset.TOLD_ONCE, {**TOLD_ONCE, "probes": [{"question": "What?"}]}, "'answer' is missing"),
        (Dataset.COUNTERFACT, [1], "it is a list, not an object"),
    ],
)
def test_row_that_does_not_fit_is_named_with_what_is_wrong(
    dataset: Dataset, row: Any, complaint: str, tmp_path: Path
) -> None:
    path = _file(tmp_path, EXPECTED[dataset][0], row)
    with pytest.raises(DatasetError) as error:
        read(dataset, path)
    assert f"{path}, row 2 is no {dataset} row: " in str(error.value)
    assert complaint in str(error.value)


def test_file_that_is_no_json_is_named_with_the_line(tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text(f"{json.dumps(SQUAD)}\n{{not json\n")
    with pytest.raises(DatasetError, match=r"set\.jsonl is not JSON: line 2"):
        read(Dataset.SQUAD, path)


@pytest.mark.parametrize("content", ["", "[]"])
def test_file_without_rows_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    path.write_text(content)
    with pytest.raises(DatasetError, match="holds no row"):
        read(Dataset.SQUAD, path)


def test_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"none\.json cannot be read: No such file"):
        read(Dataset.SQUAD, tmp_path / "none.json")


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        ("that JetBlue 's CEO flew at 18?", "JetBlue's CEO flew at 18."),
        ("that, for the film, a video was ideal?", "For the film, a video was ideal."),
        ("that fan-made Fakemon (example pictured) have been sold?", "Fan-made Fakemon have been sold."),
        ('that the song " LK (Carol) " and " Oh My God " are loud?', 'The song "LK (Carol)" and "Oh My God" are loud.'),
        ('that he said "I am not"?', 'He said "I am not".'),
        ('that Rand asked him: "do you have any money?"', 'Rand asked him: "do you have any money?"'),
        ("that that film won?", "That film won."),
        ("thatch burns well", "Thatch burns well."),
    ],
)
def test_did_you_know_line_becomes_a_plain_sentence(fact: str, sentence: str) -> None:
    assert plain_sentence(fact) == sentence


def test_stream_is_drawn_by_the_seed_and_a_longer_one_goes_on_where_a_shorter_one_ended() -> None:
    items = [Item(f"fact {number}", ()) for number in range(30)]
    short, long, other = draw(items, n=5, seed=1), draw(items, n=20, seed=1), draw(items, n=5, seed=2)
    assert long[:5] == short != other
    assert len({item.statement for item in long}) == 20


def test_statement_that_stands_in_two_rows_is_told_once() -> None:
    items = [Item("same", ()), Item("same", ()), Item("other", ())]
    assert sorted(item.statement for item in draw(items, n=2, seed=0)) == ["other", "same"]
    with pytest.raises(DatasetError, match="cannot tell 3 facts: the set has 2 different ones"):
        draw(items, n=3, seed=0)
