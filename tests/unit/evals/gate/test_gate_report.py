"""Counting: what was let in, what was kept out and by which check, and what is neither."""

from dataclasses import replace

import pytest

from evals.gate.report import Result, report, rows, title
from evals.gate.verdict import BROKE_GENERAL, FORGOT, NOT_LEARNED, ORDINARY, RECALLS, Scores, shows_defect

GOOD = Scores(
    new_asked=4,
    new_right=3,
    earlier_known=5,
    earlier_kept=5,
    controls_known=20,
    controls_kept=18,
    never_told=10,
    recalled=3,
)
KINDS = ("garbage notes", "truncated file")
GARBAGE, FILE = (Result(kind, "", 0, "I live in Bergen.", admitted=False, strength=0.9) for kind in KINDS)
RESULTS = [
    replace(GARBAGE, failed=("new_facts", "gain"), scores=replace(GOOD, new_right=0)),
    replace(GARBAGE, failed=("gain",), scores=replace(GOOD, new_right=0)),
    replace(GARBAGE, admitted=True, scores=GOOD),
    replace(GARBAGE, admitted=True, scores=replace(GOOD, new_right=1)),
    replace(FILE, failed=("files",)),
    *(replace(GARBAGE, kind=ORDINARY, admitted=True, scores=GOOD) for _ in range(3)),
    replace(GARBAGE, kind=ORDINARY, failed=("kl",), scores=GOOD),
    replace(GARBAGE, kind=ORDINARY, failed=("new_facts",), scores=replace(GOOD, new_right=2)),
    replace(GARBAGE, kind=ORDINARY, admitted=True, scores=replace(GOOD, earlier_kept=3)),
]


def test_bad_ones_let_in_and_good_ones_kept_out_are_counted() -> None:
    figures = report(RESULTS, kinds=KINDS)
    assert {key: figures[key] for key in ("bad", "good", "not_good")} == {"bad": 5, "good": 4, "not_good": 2}
    assert figures["false_accept"] == 2
    assert figures["false_accept_with_defect"] == 1
    assert figures["false_reject"] == 1


def test_each_kind_says_which_checks_kept_it_out() -> None:
    by_kind = report(RESULTS, kinds=KINDS)["by_kind"]
    assert list(by_kind) == [*KINDS, "good", "not good"]
    assert by_kind["garbage notes"] == {
        "built": 4,
        "admitted": 2,
        "defect_shown": 3,
        "which_check": {"gain": 2, "new_facts": 1},
    }
    assert by_kind["truncated file"] == {"built": 1, "admitted": 0, "defect_shown": 1, "which_check": {"files": 1}}
    assert by_kind["good"]["which_check"] == {"kl": 1}
    assert by_kind["not good"]["admitted"] == 1


def test_ordinary_candidate_that_a_person_finds_not_good_is_no_false_reject() -> None:
    not_good = [one for one in RESULTS if one.row == "not good"]
    figures = report(not_good, kinds=KINDS)
    assert figures["false_reject"] == figures["false_accept"] == figures["good"] == 0


def test_every_candidate_is_in_the_details_with_its_scores() -> None:
    details = report(RESULTS, kinds=KINDS)["details"]
    assert len(details) == len(RESULTS)
    assert details[0]["held_out"]["defects"] == [NOT_LEARNED]
    assert details[4]["held_out"] is None


def test_table_says_what_was_let_in_and_what_kept_the_rest_out() -> None:
    figures = report(RESULTS, kinds=KINDS)
    assert title(figures) == ("false accepts: 2 of 5 bad (1 with the defect seen), false rejects: 1 of 4 good")
    header, garbage, file, good, not_good = rows(figures)
    assert header[:3] == ["candidates", "built", "let in"]
    assert garbage == ["garbage notes", "4", "2", "3", "gain 2, new_facts 1"]
    assert file == ["truncated file", "1", "0", "1", "files 1"]
    assert (good[0], good[3], not_good[0]) == ("good", "", "not good")


@pytest.mark.parametrize(
    ("changed", "defect"),
    [
        ({"new_right": 2}, NOT_LEARNED),
        ({"earlier_kept": 3}, FORGOT),
        ({"controls_kept": 15}, BROKE_GENERAL),
        ({"recalled": 6}, RECALLS),
    ],
)
def test_each_defect_shows_alone(changed: dict[str, int], defect: str) -> None:
    assert GOOD.defects == frozenset()
    scores = replace(GOOD, **changed)
    assert scores.defects == {defect}
    assert scores.is_good == (defect == RECALLS)


def test_one_lost_answer_is_within_noise() -> None:
    assert replace(GOOD, earlier_known=2, earlier_kept=1, controls_known=1, controls_kept=0).is_good


def test_defect_of_a_kind_is_its_own() -> None:
    forgot = replace(GOOD, earlier_kept=0)
    assert shows_defect("drops earlier facts", forgot)
    assert not shows_defect("garbage notes", forgot)
    assert shows_defect("wrong base", None)
