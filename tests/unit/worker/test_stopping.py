"""Stopping: which candidates need no further step."""

import math

import pytest

from worker.training.stopping import Stop, StopPolicy, compared, ended, finalists

POLICY = StopPolicy(converged_loss=0.1, compared_at=0.5, goes_on=1 / 3)


@pytest.mark.parametrize(
    ("losses", "stops"),
    [
        ([], False),
        ([0.05], False),  # not yet a whole pass
        ([0.05, 0.05], True),
        ([9.0, 0.05, 0.05], True),
        ([0.05, 0.3], False),
    ],
)
def test_candidate_has_converged_when_a_whole_pass_is_learned(losses: list[float], stops: bool) -> None:
    stop = ended(losses, steps_per_pass=2, policy=POLICY)
    assert (stop is not None) == stops
    assert stop is None or not stop.hopeless


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_candidate_whose_loss_is_no_number_is_hopeless(loss: float) -> None:
    stop = ended([1.0, loss], steps_per_pass=3, policy=POLICY)
    assert stop
    assert stop.hopeless


@pytest.mark.parametrize(
    ("scores", "behind"),
    [
        ([-1.0, -0.5, -2.0], [0, 2]),
        ([-1.0], []),
        ([-1.0, -0.5, -2.0, -0.7, -3.0], [0, 2, 4]),
        ([math.nan, -9.0], [0]),
        ([math.nan, math.nan], [1]),
    ],
)
def test_best_third_goes_on(scores: list[float], behind: list[int]) -> None:
    assert list(compared(scores, step=6, policy=POLICY)) == behind


def test_reason_names_both_scores() -> None:
    stop = compared([-1.25, -0.5], step=6, policy=POLICY)[0]
    assert "after 6 steps" in stop.reason
    assert "-1.25" in stop.reason
    assert "-0.50" in stop.reason


def test_hopeless_candidates_are_not_examined_unless_all_are() -> None:
    converged, hopeless = Stop(False, "converged"), Stop(True, "no hope")
    assert finalists(3, {0: converged, 2: hopeless}) == [0, 1]
    assert finalists(2, {0: hopeless, 1: hopeless}) == [0, 1]
