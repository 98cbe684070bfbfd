"""The gate: each check can fail alone, noise is allowed for, and nothing passes on a mean."""

import math
from dataclasses import replace

import pytest

from engram.gate import GatePolicy, ProbeKind, ProbeReport, SliceScore, decide, decide_unchanged, is_too_strong, quality

POLICY = GatePolicy()
GOOD = {
    ProbeKind.RELIABILITY: SliceScore(asked=4, right=4, live_right=0),
    ProbeKind.GENERALIZATION: SliceScore(asked=4, right=3, live_right=0),
    ProbeKind.PORTABILITY: SliceScore(asked=2, right=1, live_right=0),
    ProbeKind.RETENTION: SliceScore(asked=40, right=38, live_right=40),
    ProbeKind.LOCALITY: SliceScore(asked=40, right=39, live_right=40),
    ProbeKind.FALSE_RECALL: SliceScore(asked=20, right=19),
}


def _report(kl: float = 0.05, *, finite: bool = True, **slices: SliceScore) -> ProbeReport:
    changed = {ProbeKind[name.upper()]: score for name, score in slices.items()}
    return ProbeReport(slices={**GOOD, **changed}, kl=kl, finite=finite)


def _failed(report: ProbeReport, policy: GatePolicy = POLICY) -> list[str]:
    decision = decide(report, policy=policy)
    failed = [reason.check for reason in decision.reasons if not reason.passed]
    assert decision.admitted == (not failed)
    return failed


def test_a_candidate_that_learned_and_kept_is_admitted_with_every_check_as_a_reason() -> None:
    decision = decide(_report(), policy=POLICY)
    assert decision.admitted
    checks = ["new_facts", "gain", "retention", "locality", "false_recall", "kl"]
    assert [reason.check for reason in decision.reasons] == checks
    assert decision.failures == ""


@pytest.mark.parametrize(
    ("check", "report"),
    [
        ("retention", _report(retention=SliceScore(asked=40, right=33, live_right=40))),
        ("locality", _report(locality=SliceScore(asked=40, right=33, live_right=40))),
        ("false_recall", _report(false_recall=SliceScore(asked=20, right=2))),
        ("kl", _report(kl=0.31)),
        ("kl", _report(kl=math.nan)),
        ("kl", _report(kl=math.inf)),
        ("finite", _report(finite=False)),
    ],
)
def test_one_failed_check_is_enough_to_reject(check: str, report: ProbeReport) -> None:
    assert _failed(report) == [check]


@pytest.mark.parametrize(("faded", "failed"), [(None, []), (0.0, []), (POLICY.max_faded + 0.01, ["faded"])])
def test_an_earlier_fact_that_fades_in_its_own_weights_is_seen_where_few_probes_are_lost(
    faded: float | None, failed: list[str]
) -> None:
    report = replace(_report(retention=SliceScore(2, 1, 2)), faded=faded)
    assert _failed(report) == failed
    assert any(reason.check == "faded" for reason in decide(report, policy=POLICY).reasons) is (faded is not None)


def test_a_candidate_that_did_not_learn_is_rejected_for_that_alone() -> None:
    # The live version knew 3 of 10 already: 5 of 10 is gain enough for a policy of 0.2, yet too few.
    report = _report(
        reliability=SliceScore(4, 3, 3), generalization=SliceScore(4, 2, 0), portability=SliceScore(2, 0, 0)
    )
    assert _failed(report, replace(POLICY, min_gain=0.2)) == ["new_facts"]


def test_a_candidate_that_gains_nothing_over_live_is_rejected_for_that_alone() -> None:
    report = _report(
        reliability=SliceScore(4, 3, 3), generalization=SliceScore(4, 3, 3), portability=SliceScore(2, 1, 0)
    )
    assert _failed(report) == ["gain"]


@pytest.mark.parametrize(
    ("asked", "right", "passes"), [(1, 1, True), (1, 0, False), (2, 1, True), (2, 0, False), (4, 2, False)]
)
def test_one_probe_of_a_new_fact_may_be_wrong_but_not_all(asked: int, right: int, passes: bool) -> None:
    none = SliceScore(0, 0)
    report = _report(reliability=none, portability=none, generalization=SliceScore(asked, right))
    assert ("new_facts" not in _failed(report)) is passes


def test_what_live_answers_already_needs_no_gain() -> None:
    report = _report(
        reliability=SliceScore(4, 4, 4), generalization=SliceScore(4, 4, 4), portability=SliceScore(2, 2, 2)
    )
    assert _failed(report) == []


def test_perfect_learning_does_not_outweigh_forgetting() -> None:
    report = _report(
        reliability=SliceScore(4, 4, 0),
        generalization=SliceScore(4, 4, 0),
        portability=SliceScore(2, 2, 0),
        retention=SliceScore(asked=40, right=0, live_right=40),
    )
    assert _failed(report) == ["retention"]


def test_facts_that_no_probe_examines_are_never_admitted() -> None:
    slices = {kind: score for kind, score in GOOD.items() if kind in (ProbeKind.RETENTION, ProbeKind.LOCALITY)}
    assert _failed(ProbeReport(slices=slices)) == ["probes"]
    assert _failed(ProbeReport(slices={})) == ["probes"]


def test_slices_that_hold_no_probe_are_not_counted_as_learned() -> None:
    empty = SliceScore(asked=0, right=0)
    assert _failed(_report(reliability=empty, generalization=empty, portability=empty)) == ["probes"]


def test_a_first_fact_has_nothing_to_forget() -> None:
    slices = {kind: score for kind, score in GOOD.items() if kind is not ProbeKind.RETENTION}
    assert _failed(ProbeReport(slices=slices)) == []


def test_numbers_that_are_not_finite_say_so_and_stop_there() -> None:
    decision = decide(_report(finite=False), policy=POLICY)
    assert [reason.check for reason in decision.reasons] == ["finite"]
    assert "NaN" in decision.failures


@pytest.mark.parametrize(("lost", "passes"), [(1, True), (2, False)])
def test_one_probe_may_flip_where_the_allowance_is_less_than_one(lost: int, passes: bool) -> None:
    report = _report(retention=SliceScore(asked=4, right=4 - lost, live_right=4))
    assert (_failed(report) == []) is passes


@pytest.mark.parametrize(("lost", "passes"), [(6, True), (7, False)])
def test_of_many_probes_the_share_of_the_allowance_may_be_lost(lost: int, passes: bool) -> None:
    report = _report(retention=SliceScore(asked=40, right=40 - lost, live_right=40))
    assert (_failed(report) == []) is passes


@pytest.mark.parametrize(("lost", "passes"), [(3, True), (4, False)])
def test_fifteen_hundredths_of_twenty_controls_are_three(lost: int, passes: bool) -> None:
    report = _report(locality=SliceScore(asked=20, right=20 - lost, live_right=20))
    assert (_failed(report) == []) is passes


def test_what_live_itself_got_wrong_is_not_held_against_a_candidate() -> None:
    assert _failed(_report(locality=SliceScore(asked=40, right=20, live_right=20))) == []


@pytest.mark.parametrize(("recalled", "by_base", "passes"), [(0, 0, True), (3, 2, True), (3, 1, False)])
def test_a_rebuild_may_recall_of_what_is_forgotten_what_the_base_says_and_one_more(
    recalled: int, by_base: int, passes: bool
) -> None:
    report = _report(forgotten=SliceScore(asked=60, right=recalled, live_right=by_base))
    assert _failed(report) == ([] if passes else ["forgotten"])


def test_weights_that_serve_already_are_let_in_whatever_else_they_answer() -> None:
    report = _report(forgotten=SliceScore(4, 4, 0), retention=SliceScore(4, 0, 4))
    assert _failed(report)
    assert decide_unchanged(report).admitted
    assert not decide_unchanged(_report(finite=False)).admitted


def test_gaining_on_controls_is_no_loss() -> None:
    assert _failed(_report(locality=SliceScore(asked=40, right=40, live_right=20))) == []


def test_bounds_themselves_pass() -> None:
    report = _report(
        kl=0.3, reliability=SliceScore(10, 6, 3), generalization=SliceScore(0, 0), portability=SliceScore(0, 0)
    )
    assert _failed(report) == []


def test_the_decision_and_the_report_can_be_stored_as_json() -> None:
    import json

    report = _report(kl=0.31)
    stored = json.loads(json.dumps([report.to_json(), decide(report, policy=POLICY).to_json()]))
    assert stored[0]["slices"]["reliability"] == {"asked": 4, "right": 4, "live_right": 0, "share": 1.0}
    assert stored[1]["admitted"] is False
    assert stored[1]["reasons"][-1]["check"] == "kl"


@pytest.mark.parametrize(
    ("report", "too_strong"),
    [
        (_report(), False),
        (_report(kl=0.9), True),
        (_report(kl=0.9, false_recall=SliceScore(20, 1)), True),
        (_report(locality=SliceScore(40, 30, 40)), True),
        (_report(kl=0.9, retention=SliceScore(40, 30, 40)), False),
        (_report(kl=0.9, reliability=SliceScore(4, 0), generalization=SliceScore(4, 0)), False),
        (_report(finite=False), False),
    ],
)
def test_only_what_is_refused_for_what_it_disturbs_alone_is_too_strong(report: ProbeReport, too_strong: bool) -> None:
    assert is_too_strong(decide(report, policy=POLICY)) is too_strong


def test_quality_puts_learning_before_keeping_and_keeping_before_closeness() -> None:
    best = _report()
    learned_less = _report(generalization=SliceScore(4, 1, 0))
    kept_less = _report(retention=SliceScore(asked=40, right=36, live_right=40))
    drifted = _report(kl=0.2)
    assert quality(best) > max(quality(learned_less), quality(kept_less), quality(drifted))
    assert quality(learned_less) < quality(kept_less)


def test_quality_of_an_empty_report_is_a_number() -> None:
    assert math.isfinite(quality(ProbeReport(slices={})))
