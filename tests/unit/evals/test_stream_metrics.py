"""Figures against what a hand computes."""

import pytest

from engram.grading import recalls
from evals.stream import metrics
from evals.stream.datasets import Item, Kind, Probe
from evals.stream.records import Besides, Told
from evals.stream.reference import BaseAnswers
from evals.stream.report import COLUMNS, figures
from evals.stream.tables import Column, Unit, cell, lay_out, markdown
from tests.unit.evals.stream_fixtures import ITEMS, QUESTIONS

BASE = BaseAnswers(controls=("Paris.", "It is 5."), never_told=("I have no idea.",), unrelated=("By Shakespeare.",))
TOLD = [
    Told(0, 2.0, "live", {0: ["Your cat.", "It is Biscuit."]}),
    Told(1, 4.0, "live", {0: ["A dog.", "Biscuit"], 1: ["Bergen", "Oslo"]}),
]
ENDED = Besides(controls=["Bergen.", "4"], never_told=["He is called Biscuit."], unrelated=["by shakespeare"], kl=0.125)


@pytest.mark.parametrize(
    ("n", "count", "expected"),
    [
        (20, 10, (2, 4, 6, 8, 10, 12, 14, 16, 18, 20)),
        (10, 3, (3, 7, 10)),
        (3, 10, (1, 2, 3)),
        (5, 1, (5,)),
        (1, 10, (1,)),
    ],
)
def test_checkpoints_are_evenly_spaced_and_end_with_the_last_fact(
    n: int, count: int, expected: tuple[int, ...]
) -> None:
    assert metrics.checkpoints(n, count) == expected


def test_kept_is_final_over_immediate() -> None:
    assert metrics.kept([1.0, 0.5, 0.5], [0.5, 0.0, 0.5]) == pytest.approx(0.5)
    assert metrics.kept([0.0, 0.0], [0.5, 0.0]) is None


def test_bootstrap_is_the_spread_of_means_of_drawn_facts() -> None:
    assert metrics.bootstrap([0.5] * 7, seed=0) == (0.5, 0.5)
    # Of two facts, one right: the mean is 0, 0.5 or 1 with chances 1/4, 1/2, 1/4.
    assert metrics.bootstrap([0.0, 1.0], seed=0) == (0.0, 1.0)
    # Of 100 facts, half right: 0.5 within two standard errors of 0.05.
    low, high = metrics.bootstrap([0.0, 1.0] * 50, seed=0) or (0, 0)
    assert (low, high) == (pytest.approx(0.40, abs=0.02), pytest.approx(0.60, abs=0.02))
    assert metrics.bootstrap([], seed=0) is None


def test_bootstrap_is_the_same_for_the_same_seed() -> None:
    values = [0.0, 0.25, 1.0, 0.5, 0.75]
    assert metrics.bootstrap(values, seed=4) == metrics.bootstrap(values, seed=4)


def test_recall_by_lag_is_the_mean_along_diagonals_of_what_was_asked() -> None:
    matrix = [[1.0, None, None], [0.5, 0.0, None], [None, 1.0, 0.5]]
    assert metrics.by_lag(matrix, width=1) == {range(1): pytest.approx(0.5), range(1, 2): pytest.approx(0.75)}


def test_lags_are_counted_in_ranges_after_what_was_asked_at_once() -> None:
    matrix = [[1.0, None, None, None], [None, 1.0, None, None], [0.0, None, 1.0, None], [0.5, 0.5, 0.25, 0.0]]
    assert metrics.by_lag(matrix, width=2) == {
        range(1): pytest.approx(0.75),
        range(1, 3): pytest.approx(0.25),
        range(3, 5): pytest.approx(0.5),
    }


def test_false_recall_is_an_answer_of_the_stream_that_the_base_does_not_give() -> None:
    told = metrics.golds(ITEMS)
    assert told == {"cat", "Biscuit", "Bergen"}
    assert recalls("It is Biscuit.", "I do not know.", told)
    assert not recalls("You are a cat person.", "Some cat, perhaps.", told)
    assert not recalls("I do not know.", "I do not know.", told)


def test_answer_is_unchanged_if_only_case_punctuation_or_articles_differ() -> None:
    assert metrics.is_unchanged("The Big Apple!", "big apple")
    assert not metrics.is_unchanged("The Big Apple, in New York", "big apple")


def test_figures_of_a_stream_of_two_facts() -> None:
    found = figures(ITEMS, TOLD, ENDED, QUESTIONS, BASE, seed=0)
    assert found["matrix"] == [[1.0, None], [0.0, 0.5]]
    assert (found["immediate"], found["final"]) == (0.75, 0.25)
    assert found["kept"] == pytest.approx(1 / 3)
    assert found["control"] == 0.0  # the base knows Paris only, and that was lost; 2 + 2 it never knew
    assert found["false_recall"] == 1.0
    assert (found["kl"], found["seconds_per_fact"], found["leak"]) == (0.125, 3.0, None)
    assert (found["rephrased"], found["unrelated"]) == (1.0, 1.0)
    assert found["intervals"] == {"immediate": (0.5, 1.0), "final": (0.0, 0.5)}


def test_details_hold_every_answer_and_what_was_lost() -> None:
    details = figures(ITEMS, TOLD, ENDED, QUESTIONS, BASE, seed=0)["details"]
    assert details["controls_known"] == 1
    assert details["controls_lost"] == ["What is the capital of France? -> Bergen."]
    assert details["false_recalls"] == ["What is my hamster's name? -> He is called Biscuit."]
    first = details["facts"][0]
    assert (first["statement"], first["outcome"], first["seconds"]) == (ITEMS[0].statement, "live", 2.0)
    assert first["probes"][0] == {
        "question": "Whose name is Biscuit?",
        "kind": "own",
        "gold": ["cat"],
        "immediate": "Your cat.",
        "immediate_right": True,
        "final": "A dog.",
        "final_right": False,
    }


def test_set_without_edits_has_no_figures_of_edits_and_a_broken_model_no_kl() -> None:
    items = [Item("I live in Bergen.", (Probe("Where do I live?", ("Bergen",)),))]
    told = [Told(0, 1.0, "", {0: ["Oslo"]})]
    base = BaseAnswers(BASE.controls, BASE.never_told, ())
    ended = Besides(ENDED.controls, ENDED.never_told, [], kl=float("nan"))
    found = figures(items, told, ended, QUESTIONS, base, seed=0)
    assert not {"rephrased", "unrelated"} & set(found)
    assert found["kl"] is found["kept"] is None
    assert (found["immediate"], found["final"]) == (0.0, 0.0)


def test_share_right_counts_one_kind_only() -> None:
    probes = (Probe("a", ("x",)), Probe("b", ("x",)), Probe("c", ("x",), Kind.REPHRASED))
    assert metrics.share_right(probes, ["x", "y", "x"], Kind.OWN) == 0.5
    assert metrics.share_right(probes, ["x", "y", "x"], Kind.REPHRASED) == 1.0
    assert metrics.share_right(probes, ["x", "y", "x"], Kind.UNRELATED) is None


def test_markdown_has_a_row_a_method_and_leaves_out_what_no_method_has() -> None:
    found = figures(ITEMS, TOLD, ENDED, QUESTIONS, BASE, seed=0)
    without = {key: value for key, value in found.items() if key not in ("rephrased", "unrelated")}
    rows = lay_out("method", COLUMNS, [("engram", found), ("base", without)])
    lines = markdown(rows, head="What was run.").splitlines()
    assert lines[0] == "What was run."
    assert lines[2].startswith("| method | immediate | final | kept | rephrased | unrelated unchanged |")
    assert lines[4] == (
        "| engram | 0.75 (0.50–1.00) | 0.25 (0.00–0.50) | 0.33 | 1.00 | 1.00 | 0.00 | 0.125 | 1.00 | 3.0 |"
    )
    assert lines[5].startswith("| base | 0.75 (0.50–1.00) | 0.25 (0.00–0.50) | 0.33 | – | – | 0.00 |")
    assert "rephrased" not in lay_out("method", COLUMNS, [("base", without)])[0]


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        (Unit.SHARE, 0.5, "0.50"),
        (Unit.POINTS, -2.5, "-2.5"),
        (Unit.NATS, 0.0125, "0.013"),
        (Unit.SECONDS, 61.25, "61.2"),
        (Unit.COUNT, 40, "40"),
        (Unit.TEXT, "yes", "yes"),
        (Unit.SHARE, None, "–"),
    ],
)
def test_figure_is_shown_in_its_unit(unit: Unit, value: object, text: str) -> None:
    assert cell({"figure": value}, Column("figure", "Figure", unit)) == text
