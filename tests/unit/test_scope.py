"""Scope: what is near to what a version was taught is in, all else is out, and the encoder tells the two apart."""

from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from engram.artifacts import SCOPE
from engram.errors import AdapterRejected
from engram.routing import OWN_SHARD
from engram.settings import Settings
from scope import decision, encoder
from scope.decision import Scope, Vectors
from scope.encoder import ScopeEncoderDamaged, open_encoder

SURE_MARGIN = Settings().scope_sure_margin
TAUGHT = [
    "What is my dog's name?",
    "What do I call my dog?",
    "My dog is called what?",
    "What is my sister allergic to?",
    "Which food must my sister avoid?",
    "My sister cannot eat what?",
]
OTHERS = [
    *("What is the capital of Spain?", "How many legs does a spider have?", "Write a poem about autumn."),
    *("Where does my uncle live?", "When is my wedding?", "How tall is my father?", "Who wrote Hamlet?", "Hello!"),
]


def _unit(*rows: list[float]) -> Vectors:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_margin_is_the_mean_of_the_nearest_two_less_half_of_the_others() -> None:
    told = _unit([1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1])
    scope = Scope.of(told, others_MD=_unit([0, 1, 0], [0, 1, 0]))
    east, north = scope.margins(_unit([1, 0, 0], [0, 1, 0]))
    assert east == pytest.approx(1)
    assert north == pytest.approx(1 / 2 - 1 / 2)


def test_a_message_needs_the_sure_margin_or_what_few_others_have() -> None:
    told, others = _unit([1, 0, 0]), _unit([1, 2, 0], [0, 1, 1], [0, 0, 1])
    scope = Scope.of(told, others)
    near, far = _unit([1, 1, 0], [0, 1, 0])
    near_margin, far_margin = scope.margins(np.stack([near, far]))
    assert far_margin < scope.telling_margin < near_margin  # one of the three others is near to what was told
    asked = np.stack([near, far])
    assert scope.answering(asked, sure_margin=0.9) == [OWN_SHARD, None]
    assert scope.answering(asked, sure_margin=float(far_margin)) == [OWN_SHARD, OWN_SHARD]
    assert scope.answering(asked, sure_margin=-2) == [OWN_SHARD, OWN_SHARD]


def test_the_shard_that_was_taught_the_nearest_question_answers() -> None:
    told, others = _unit([1, 0, 0], [1, 1, 0], [0, 1, 0]), _unit([0, 0, 1])
    scope = Scope.of(told, others, shards_N=np.array([3, OWN_SHARD, 7], np.int32))
    asked = _unit([2, 0.1, 0], [1, 0.9, 0], [0.1, 2, 0], [0, 0, 1])
    assert scope.answering(asked, sure_margin=0.3) == [3, OWN_SHARD, 7, None]


def test_version_that_was_taught_nothing_answers_nothing() -> None:
    empty = Scope.of(np.zeros((0, 3), np.float32), _unit([0, 1, 0]))
    assert empty.answering(_unit([1, 0, 0]), sure_margin=0.01) == [None]


def test_scope_is_kept_beside_the_weights(tmp_path: Path) -> None:
    scope = Scope.of(_unit([1, 2, 3], [3, 2, 1]), _unit([0, 1, 0]), shards_N=np.array([OWN_SHARD, 4], np.int32))
    scope.save(tmp_path)
    read = decision.load(tmp_path)
    assert read is not None
    np.testing.assert_allclose(read.told_ND, scope.told_ND, atol=1e-3)
    np.testing.assert_allclose(read.others_MD, scope.others_MD, atol=1e-3)
    assert read.shards_N.tolist() == [OWN_SHARD, 4]


def test_scope_from_before_there_were_shards_is_of_one(tmp_path: Path) -> None:
    told, others = _unit([1, 2, 3], [3, 2, 1]), _unit([0, 1, 0])
    save_file({"told": told.astype(np.float16), "others": others.astype(np.float16)}, tmp_path / SCOPE)
    read = decision.load(tmp_path)
    assert read is not None
    assert read.shards_N.tolist() == [OWN_SHARD, OWN_SHARD]


def test_version_without_a_scope_has_none_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    assert decision.load(tmp_path) is None
    (tmp_path / SCOPE).write_bytes(b"no tensors")
    with pytest.raises(AdapterRejected, match="cannot be read"):
        decision.load(tmp_path)


@pytest.fixture(scope="module")
def scope() -> Scope:
    sentences = open_encoder()
    return Scope.of(sentences.encode(TAUGHT), sentences.encode(OTHERS))


@pytest.mark.parametrize(
    ("message", "inside"),
    [
        ("How did I name my dog?", True),
        ("Remind me what my sister can't eat.", True),
        ("we're cooking for my sister tonight, is there anything she shouldn't have?", True),
        ("What is the capital of Norway?", False),
        ("Write a haiku about winter.", False),
        ("When does my flight leave?", False),
        ("def add(a, b): return a + b  # why does this fail?", False),
    ],
)
def test_other_wordings_are_in_scope_and_other_matters_are_not(scope: Scope, message: str, inside: bool) -> None:
    assert scope.answering(open_encoder().encode([message]), sure_margin=SURE_MARGIN) == [OWN_SHARD if inside else None]


def test_of_a_long_message_the_end_counts(scope: Scope) -> None:
    long = "The committee met on Tuesday to discuss the budget. " * 80
    vectors = open_encoder().encode([f"{long} {TAUGHT[0]}", long])
    asks, states = scope.margins(vectors)
    assert np.isfinite(asks)
    assert asks > states


def test_vectors_are_unit_and_do_not_depend_on_what_is_encoded_beside() -> None:
    sentences = open_encoder()
    beside = sentences.encode_once(
        [TAUGHT[0], "A much longer sentence that makes the shorter one be padded in the batch."]
    )
    np.testing.assert_allclose(beside[0], sentences.encode_once([TAUGHT[0]])[0], atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(beside, axis=1), 1, atol=1e-5)
    assert sentences.encode([]).shape == (0, sentences.width)


def test_encoder_that_is_missing_or_damaged_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoder, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(ScopeEncoderDamaged, match="make setup"):
        encoder._packaged()
    monkeypatch.setattr(encoder, "PACKAGE", "no_such_package")
    with pytest.raises(ScopeEncoderDamaged, match="not installed"):
        encoder._packaged()
