"""Scope: what is near to what a version was taught is in, all else is out, and the encoder tells the two apart."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from engram.artifacts import SCOPE
from engram.errors import AdapterRejected
from engram.routing import OWN_SHARD
from engram.settings import Settings
from scope import decision, encoder
from scope.decision import Scope, Vectors, digests_of
from scope.encoder import ScopeEncoderDamaged, open_encoder

MIN_MARGIN = Settings().scope_min_margin
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
    *(
        "Why does this code fail: print(x",
        "Where does my uncle live?",
        "When is my wedding?",
        "How tall is my father?",
        "Who wrote Hamlet?",
        "Hello!",
    ),
]


def _unit(*rows: list[float]) -> Vectors:
    vectors = np.array(rows, np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_margin_is_the_mean_of_a_shards_nearest_three_less_that_of_the_nearest_three_others() -> None:
    told = _unit([1, 0, 0], [1, 0, 0], [0, 1, 0], *[[0, 0, 1]] * 4, [0, 1, 0])
    others = _unit([0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 0, 1])
    scope = Scope.of(told, others, shards_N=np.array([5] * 7 + [OWN_SHARD], np.int32))
    east, north = scope.margins(["", ""], _unit([1, 0, 0], [0, 1, 0]))
    assert east == pytest.approx(2 / 3)  # shard 5's 1, 1 and 0
    assert north == pytest.approx(1 - 1 / 3)  # the own shard was taught one question alone; the others' 1, 0 and 0


def test_of_few_questions_a_third_counts() -> None:
    scope = Scope.of(_unit([1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]), _unit([0, 0, 1]))
    assert scope.margins([""], _unit([1, 0, 0])) == pytest.approx(1)  # two of four


def test_a_message_needs_the_margin() -> None:
    scope = Scope.of(_unit([1, 0, 0]), _unit([0, 1, 0]))
    asked = ["", ""], _unit([2, 1, 0], [1, 2, 0])
    assert scope.answering(*asked, min_margin=0) == [OWN_SHARD, None]
    assert scope.answering(*asked, min_margin=0.5) == [None, None]
    assert scope.answering(*asked, min_margin=-2) == [OWN_SHARD, OWN_SHARD]


def test_the_shard_that_was_taught_what_is_nearest_answers() -> None:
    told, others = _unit([1, 0, 0], [1, 1, 0], [0, 1, 0]), _unit([0, 0, 1])
    scope = Scope.of(told, others, shards_N=np.array([3, OWN_SHARD, 7], np.int32))
    asked = _unit([2, 0.1, 0], [1, 0.9, 0], [0.1, 2, 0], [0, 0, 1])
    assert scope.answering([""] * 4, asked, min_margin=0.3) == [3, OWN_SHARD, 7, None]


def test_what_has_other_names_than_a_shard_is_asked_for_by_is_not_for_it() -> None:
    told, others = _unit([1, 0, 0], [0, 1, 0]), _unit([0, 0, 1])
    names = {3: ["guy", "moussi"], OWN_SHARD: []}
    scope = Scope.of(told, others, shards_N=np.array([3, OWN_SHARD], np.int32), names=names)

    def answering(message: str, *vector: float) -> int | None:
        return scope.answering([message], _unit([*vector]), min_margin=0.3)[0]

    assert answering("What does Guy play?", 1, 0.9, 0) == 3
    assert answering("what does he play?", 1, 0.9, 0) == 3
    assert answering("What does Igor Netto play?", 1, 0.9, 0) == OWN_SHARD  # of which nothing is asked by name
    assert answering("What does Igor Netto play?", 1, 0, 0.9) is None


def test_names_are_kept_beside_the_weights(tmp_path: Path) -> None:
    Scope.of(_unit([1, 2, 3]), _unit([0, 1, 0]), names={OWN_SHARD: ["guy"]}).save(tmp_path)
    read = decision.load(tmp_path)
    assert read is not None
    assert read.names_K.tolist() == digests_of(["guy"]).tolist()
    assert read.name_shards_K.tolist() == [OWN_SHARD]


def test_version_that_was_taught_nothing_answers_nothing() -> None:
    empty = Scope.of(np.zeros((0, 3), np.float32), _unit([0, 1, 0]))
    assert empty.answering([""], _unit([1, 0, 0]), min_margin=0.01) == [None]


def test_scope_is_kept_beside_the_weights(tmp_path: Path) -> None:
    scope = Scope.of(_unit([1, 2, 3], [3, 2, 1]), _unit([0, 1, 0]), shards_N=np.array([OWN_SHARD, 4], np.int32))
    scope.save(tmp_path)
    read = decision.load(tmp_path)
    assert read is not None
    np.testing.assert_allclose(read.told_ND, scope.told_ND, atol=1e-3)
    np.testing.assert_allclose(read.others_MD, scope.others_MD, atol=1e-3)
    assert read.shards_N.tolist() == [OWN_SHARD, 4]


def test_a_questions_vector_is_found_again_in_the_file(tmp_path: Path) -> None:
    told, others = _unit([1, 2, 3], [3, 2, 1]), _unit([0, 1, 0])
    Scope.of(told, others, digests_N=digests_of(["Who is my cat?", "Where do I live?"])).save(tmp_path)
    read = decision.load(tmp_path)
    assert read is not None
    found = read.vectors_of(["Where do I live?", "Where do I work?"])
    assert list(found) == ["Where do I live?"]
    np.testing.assert_allclose(found["Where do I live?"], told[1], atol=1e-3)


def test_a_file_without_digests_is_read_and_finds_no_vector(tmp_path: Path) -> None:
    Scope.of(_unit([1, 2, 3]), _unit([0, 1, 0])).save(tmp_path)
    tensors = load_file(tmp_path / SCOPE)
    del tensors["digests"], tensors["names"], tensors["name_shards"]
    save_file(tensors, tmp_path / SCOPE, metadata={"encoder": decision.ENCODER})
    read = decision.load(tmp_path)
    assert read is not None
    assert read.vectors_of(["Who is my cat?"]) == {}


def test_a_file_without_shards_is_refused(tmp_path: Path) -> None:
    Scope.of(_unit([1, 2, 3]), _unit([0, 1, 0])).save(tmp_path)
    tensors = load_file(tmp_path / SCOPE)
    del tensors["shards"]
    save_file(tensors, tmp_path / SCOPE, metadata={"encoder": decision.ENCODER})
    with pytest.raises(AdapterRejected, match="'shards'"):
        decision.load(tmp_path)


def test_scope_of_another_encoder_counts_as_none(tmp_path: Path) -> None:
    told, others = _unit([1, 2, 3], [3, 2, 1]), _unit([0, 1, 0])
    save_file({"told": told.astype(np.float16), "others": others.astype(np.float16)}, tmp_path / SCOPE)
    assert decision.load(tmp_path) is None


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
    found = scope.answering([message], open_encoder().encode([message]), min_margin=MIN_MARGIN)
    assert found == [OWN_SHARD if inside else None]


def test_of_a_long_message_the_end_counts(scope: Scope) -> None:
    long = "The committee met on Tuesday to discuss the budget. " * 80
    messages = [f"{long} {TAUGHT[0]}", long]
    asks, states = scope.margins(messages, open_encoder().encode(messages))
    assert np.isfinite(asks)
    assert asks > states


def test_vectors_are_unit_and_do_not_depend_on_what_is_encoded_beside() -> None:
    sentences = open_encoder()
    beside = sentences.encode_once(
        [TAUGHT[0], "A much longer sentence that makes the shorter one be padded in the batch."]
    )
    np.testing.assert_allclose(beside[0], sentences.encode_once([TAUGHT[0]])[0], atol=0.01)  # bfloat16
    np.testing.assert_allclose(np.linalg.norm(beside, axis=1), 1, atol=1e-5)
    assert sentences.encode([]).shape == (0, sentences.width)


def test_encoder_that_is_missing_or_damaged_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(encoder.FOLDER, cut, ignore=shutil.ignore_patterns("model.safetensors"))
    (cut / "model.safetensors").write_bytes(b"half of it")
    monkeypatch.setattr(encoder, "FOLDER", cut)
    with pytest.raises(ScopeEncoderDamaged, match="make setup"):
        open_encoder.__wrapped__()
    monkeypatch.setattr(encoder, "FOLDER", tmp_path / "none")
    with pytest.raises(ScopeEncoderDamaged, match="make setup"):
        open_encoder.__wrapped__()
