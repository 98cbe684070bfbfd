"""A learning run as the command line draws it."""

from typing import Any

from rich.console import Console

from cli.watch import draw
from engram.gate import GateDecision, Reason, not_examined


def _drawn(*candidates: dict[str, Any]) -> str:
    run = {"id": "run_1", "status": "published", "published_version": 3, "candidates": candidates}
    console = Console(width=120)
    with console.capture() as capture:
        console.print(draw(run))
    return capture.get()


def test_candidates_are_shown_with_scores_and_the_gates_word() -> None:
    failed = Reason("kl", False, 0.9, 0.3, "KL to the base: 0.9")
    slices = {"generalization": {"asked": 2, "right": 1}}
    drawn = _drawn(
        {"strategy": "self-qa", "report": {"slices": slices}, "decision": GateDecision(True, ()).to_json()},
        {"strategy": "rewrite", "report": {"slices": slices}, "decision": GateDecision(False, (failed,)).to_json()},
        {"strategy": "implications", "report": None, "decision": not_examined("stopped after 4 steps").to_json()},
    )
    rows = {line.split()[0]: line for line in drawn.splitlines() if line.split()}
    assert "1/2" in rows["self-qa"]
    assert rows["self-qa"].rstrip().endswith("admitted")
    assert rows["rewrite"].rstrip().endswith("rejected")
    assert rows["implications"].rstrip().endswith("stopped early")
    assert "published version 3" in drawn
