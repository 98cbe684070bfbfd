"""Which version answers: the model field, pinned versions, the canary's share, names of spaces."""

import pytest

from engram.errors import InvalidRequest, ModelNotFound
from engram.routing import Aliases, ModelRequest, check_space_name, choose_version, parse_model

LIVE = ModelRequest(pinned=None)


@pytest.mark.parametrize(
    ("model", "wanted"),
    [
        ("engram", LIVE),
        ("base", ModelRequest(pinned=0, bypasses_memory=True)),
        ("engram@0", ModelRequest(pinned=0)),
        ("engram@7", ModelRequest(pinned=7)),
        ("engram@999999999", ModelRequest(pinned=999_999_999)),
    ],
)
def test_a_model_name_is_read(model: str, wanted: ModelRequest) -> None:
    assert parse_model(model) == wanted


@pytest.mark.parametrize(
    "model",
    [
        "",
        "Engram",
        "BASE",
        " engram",
        "engram ",
        "engram\n",
        "engram@",
        "engram@7\n",
        "engram@-1",
        "engram@+1",
        "engram@01",
        "engram@1.0",
        "engram@1_0",
        "engram@٣",
        "engram@²",
        "engram@1234567890",
        "engram@7@8",
        "engram@../../etc/passwd",
        "sp_1-v7-deadbeef",
        "base@1",
        "gpt-4o",
        "x" * 100_000,
    ],
)
def test_any_other_model_name_is_not_found_and_the_message_stays_short(model: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        parse_model(model)
    assert caught.value.param == "model"
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("name", ["a", "default", "alice@example.com", "A.b_c-1", "x" * 128, "..", "-rf"])
def test_a_space_name_of_allowed_characters_is_taken_as_it_is(name: str) -> None:
    assert check_space_name(name) == name


@pytest.mark.parametrize("name", ["", "x" * 129, "a/b", "a b", "a\n", "é", "a\0", "%2e", "a:b", "٣"])
def test_a_space_name_with_anything_else_is_refused_and_names_its_parameter(name: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check_space_name(name, param="space")
    assert caught.value.param == "space"


def test_the_live_version_answers_without_a_canary() -> None:
    assert choose_version(LIVE, aliases=Aliases(live=4), canary_share=1.0, key="k") == 4


def test_a_pinned_version_answers_whatever_is_live_or_canary() -> None:
    aliases = Aliases(live=4, canary=5)
    assert choose_version(ModelRequest(pinned=2), aliases=aliases, canary_share=1.0, key="k") == 2
    assert choose_version(parse_model("base"), aliases=aliases, canary_share=1.0, key="k") == 0


@pytest.mark.parametrize(("share", "wanted"), [(0.0, {4}), (1.0, {5})])
def test_a_share_of_none_or_all_is_exact(share: float, wanted: set[int]) -> None:
    aliases = Aliases(live=4, canary=5)
    assert {choose_version(LIVE, aliases=aliases, canary_share=share, key=f"conv_{n}") for n in range(500)} == wanted


def test_a_canary_answers_its_share_of_conversations() -> None:
    aliases = Aliases(live=4, canary=5)
    chosen = [choose_version(LIVE, aliases=aliases, canary_share=0.2, key=f"conv_{n}") for n in range(5000)]
    assert 0.17 < chosen.count(5) / len(chosen) < 0.23


def test_a_conversation_stays_on_its_side_and_joins_when_the_share_grows() -> None:
    aliases = Aliases(live=4, canary=5)
    for key in (f"conv_{n}" for n in range(200)):
        sides = [choose_version(LIVE, aliases=aliases, canary_share=share, key=key) for share in (0.1, 0.1, 0.5, 0.9)]
        assert sides == sorted(sides)
        assert sides[0] == sides[1]
