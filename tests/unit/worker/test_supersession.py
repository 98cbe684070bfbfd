"""A new statement replaces the earlier facts that it makes untrue, as the shipped judge reads them."""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from scope.decision import Vectors
from scope.encoder import open_encoder
from worker.supersession.decision import MOST_JUDGED, is_same_sentence, superseded_by
from worker.supersession.judge import Judge, NoJudge, open_judge, read_judge
from worker.supersession.train import HELD_OUT, WRITTEN, Config, Example, _batches, examined, read_examples, train

LEDGER = {
    "home": "I live in Oslo.",
    "dentist": "My dentist is Dr Lund.",
    "sister": "My sister Ada has a dog called Bo.",
    "tea": "My favourite tea is jasmine.",
}


def _superseded(statement: str, earlier: dict[str, str] = LEDGER) -> set[str]:
    return superseded_by(statement, earlier, sentences=open_encoder(), judge=open_judge())


@pytest.mark.parametrize(
    ("statement", "replaced"),
    [
        ("I moved to Trondheim last week.", {"home"}),
        ("My dentist is Dr Okafor now.", {"dentist"}),
        ("My favourite tea is rooibos.", {"tea"}),
        ("My brother lives in Bergen.", set()),
        ("My cat is called Biscuit.", set()),
        ("I live in Oslo.", set()),
    ],
)
def test_what_a_statement_makes_untrue_is_replaced(statement: str, replaced: set[str]) -> None:
    assert _superseded(statement) == replaced


def test_nothing_is_replaced_where_nothing_was_said() -> None:
    assert _superseded("I live in Oslo.", {}) == set()


@dataclass
class Recorder:
    """Judges everything replaced but for what `odds` says, and keeps what it was asked."""

    odds: dict[str, float] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def replaced(self, statement: str, earlier: list[str]) -> list[float]:
        self.asked += earlier
        return [self.odds.get(text, 0.99) for text in earlier]


@dataclass
class Places:
    """Vectors by text."""

    of: dict[str, Vectors]

    def encode(self, texts: list[str]) -> Vectors:
        return np.stack([self.of[text] for text in texts])


def test_same_words_again_replace_nothing_and_are_not_judged() -> None:
    judge: Any = Recorder()
    assert superseded_by("I live in Oslo", {"a": "I live in Oslo."}, sentences=open_encoder(), judge=judge) == set()
    assert judge.asked == []


def test_only_the_most_similar_facts_are_judged_however_many_there_are() -> None:
    said = {f"f{number}": f"fact {number}" for number in range(40)}
    at = {text: np.array([np.cos(number), np.sin(number)]) for number, text in enumerate(said.values())}
    angle = {number: np.cos(number) for number in range(40)}
    sentences: Any = Places({**at, "new": np.array([1.0, 0.0])})
    judge: Any = Recorder()
    found = superseded_by("new", said, sentences=sentences, judge=judge)
    nearest = sorted(angle, key=lambda number: -angle[number])[:MOST_JUDGED]
    assert judge.asked == [f"fact {number}" for number in nearest]
    assert found == {f"f{number}" for number in nearest}


@pytest.mark.parametrize(
    ("odds", "replaced"), [((0.6, 0.4), {"a"}), ((0.7, 0.6), {"a"}), ((0.99, 0.96), {"a", "b"}), ((0.4, 0.3), set())]
)
def test_beside_the_most_probable_one_only_what_is_nearly_certain_is_replaced(
    odds: tuple[float, float], replaced: set[str]
) -> None:
    said = {"a": "one", "b": "other"}
    judge: Any = Recorder(dict(zip(said.values(), odds, strict=True)))
    assert superseded_by("I live in Oslo.", said, sentences=open_encoder(), judge=judge) == replaced


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("Guy Moussi, the midfielder.", "Guy Moussi, the goalkeeper.", True),
        ("Ada works at Brightwater Logistics.", "Ada works at Nord.", True),
        ("My train to Lund leaves at 9:15.", "My train to Oslo leaves at 10:30.", False),
        ("I live in Oslo.", "I live in Oslo.", False),
        ("I live in Oslo.", "I live in Oslo by the sea.", False),
        ("Tea.", "Coffee.", False),
    ],
)
def test_same_sentence_differs_in_one_place_alone(old: str, new: str, same: bool) -> None:
    assert is_same_sentence(old, new) is same


def test_same_sentence_with_another_value_is_replaced_at_lower_odds() -> None:
    said = {"a": "Ada Lund, the midfielder.", "b": "My team has a midfielder."}
    judge: Any = Recorder(dict.fromkeys(said.values(), 0.3))
    assert superseded_by("Ada Lund, the keeper.", said, sentences=open_encoder(), judge=judge) == {"a"}


def test_judge_says_the_mean_of_what_its_cross_encoders_say() -> None:
    pairs = [("I live in Oslo.", "I moved to Bergen."), ("I live in Oslo.", "My sister moved to Bergen.")]
    judge = open_judge()
    assert len(judge.encoders) > 1
    alone = [Judge((encoder,)).probabilities(pairs) for encoder in judge.encoders]
    odds = np.mean([np.log(np.divide(each, np.subtract(1, each))) for each in alone], axis=0)
    assert judge.probabilities(pairs) == pytest.approx(1 / (1 + np.exp(-odds)), abs=1e-3)


def test_missing_judge_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoJudge, match=str(tmp_path)):
        read_judge(open_encoder(), tmp_path)


def test_judge_leaves_the_sentence_encoder_as_it_was() -> None:
    encoder = open_encoder()
    before = encoder.encode_once(["I live in Oslo."])
    open_judge().replaced("I moved to Bergen.", ["I live in Oslo."])
    assert np.array_equal(encoder.encode_once(["I live in Oslo."]), before)


def test_pairs_are_judged_alike_alone_and_together() -> None:
    judge = open_judge()
    together = judge.replaced("I moved to Bergen.", list(LEDGER.values()))
    assert judge.probabilities([]) == []
    alone = [judge.replaced("I moved to Bergen.", [old])[0] for old in LEDGER.values()]
    assert together == pytest.approx(alone, abs=1e-2)


def test_shipped_judge_finds_most_held_out_changes_and_takes_few_others_for_one() -> None:
    held_out = read_examples(HELD_OUT)
    probabilities = open_judge().probabilities([(each.old, each.new) for each in held_out])
    found = [p > 0.5 for p, each in zip(probabilities, held_out, strict=True) if each.replaces]
    wrong = [p > 0.5 for p, each in zip(probabilities, held_out, strict=True) if not each.replaces]
    assert sum(found) / len(found) >= 0.88
    assert sum(wrong) / len(wrong) <= 0.055


def test_training_sees_each_example_once_an_epoch() -> None:
    examples = [Example(f"old {n}", f"new {n}", n % 2 == 0) for n in range(21)]
    drawn = [each for batch in _batches(examples, random.Random(0), size=4) for each in batch]
    assert sorted(drawn, key=str) == sorted(examples, key=str)


def test_trained_judge_is_read_as_it_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few = read_examples(WRITTEN)[:8]
    monkeypatch.setattr("worker.supersession.train.read_examples", lambda pattern: few)
    torch.manual_seed(0)
    train(tmp_path / "one", Config(epochs=1, batch=4, rank=2, first_layer=11))
    judge = read_judge(open_encoder(), tmp_path / "one")
    assert len(read_judge(open_encoder(), tmp_path).encoders) == 1
    (encoder,) = judge.encoders
    assert encoder.head.weight.abs().sum() > 0
    assert "found" in examined(judge, few)
