"""Which shard learns a fact, and which are trained anew without one."""

import pytest

from worker.curriculum import shards_to_learn, shards_to_rebuild


@pytest.mark.parametrize(
    ("held", "new", "most", "chosen"),
    [
        ({}, "x", 2, set()),
        ({"a": 1}, "x", 2, {1}),
        ({"a": 1}, "xy", 2, set()),
        ({"a": 1, "b": 1}, "x", 2, set()),
        ({"a": 1, "b": 1, "c": 3}, "x", 2, {3}),
        ({"a": 1, "b": 3, "c": 3}, "x", 2, {1}),
        ({"a": 1, "b": 3}, "x", 2, {3}),
        ({"a": 1, "b": 1, "c": 1}, "xyz", 0, {1}),
        ({}, "xyz", 2, set()),
        ({"a": 1, "x": 1, "b": 3}, "x", 2, {1}),  # learned again where it was taught, full or not
        ({"a": 1, "x": 1, "y": 3}, "xy", 2, {1, 3}),
        ({"a": 1, "replaced": 3}, "x", 2, {1}),  # no live fact is left in the newest
    ],
)
def test_newest_shard_with_room_learns(held: dict[str, int], new: str, most: int, chosen: set[int]) -> None:
    assert shards_to_learn(held, list(new), kept=set("abc"), most=most) == chosen


HELD = {"a": 1, "b": 1, "c": 3, "d": 4, "e": 4}


@pytest.mark.parametrize(
    ("forgetting", "kept", "rebuilt"),
    [
        ("a", "bcde", {1}),
        ("c", "abde", {3, 1}),
        ("cd", "abe", {3, 4}),
        ("ab", "cde", {1, 3}),
        ("ae", "bcd", {1}),
        ("abcde", "", {1}),
        ("x", "abcde", {1, 3, 4}),
        ("", "abcde", set()),
        ("a", "cde", {1, 3}),  # what was superseded beside it is not kept
    ],
)
def test_oldest_shard_with_a_fact_to_forget_is_trained_anew_with_something_to_train(
    forgetting: str, kept: str, rebuilt: set[int]
) -> None:
    assert shards_to_rebuild(HELD, kept=set(kept), forgetting=set(forgetting)) == rebuilt


@pytest.mark.parametrize(
    ("replaced", "forgetting", "kept", "rebuilt"),
    [
        ("c", "", "abde", {1}),
        ("a", "", "bcde", {1}),  # which of the smallest holds it beside others is all the same: it is not asked for
        ("abcde", "", "", set()),
        ("x", "", "abcde", set()),
        ("c", "d", "abe", {4}),
    ],
)
def test_to_leave_out_what_was_replaced_the_smallest_shard_is_taken(
    replaced: str, forgetting: str, kept: str, rebuilt: set[int]
) -> None:
    found = shards_to_rebuild(HELD, kept=set(kept), forgetting=set(forgetting), replaced=set(replaced))
    assert found == rebuilt
