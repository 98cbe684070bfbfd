"""What a person is told of an adapter version."""

from typing import Any

from rich.console import Console

from cli.version import describe

VERSION: dict[str, Any] = {
    "space": "alice",
    "version": 7,
    "status": "retired",
    "reason": None,
    "parent_version": 6,
    "lora_name": "sp_1-v7-219b723f",
    "digest": "219b723fcaea38aa1718a4592deb797a",
    "run_id": "run_1",
    "aliases": ["previous"],
    "created_at": "2026-11-25T20:51:33.594261Z",
    "facts": [
        {"id": "fact_1", "statement": "My dog is called [red]Rex[/red].", "status": "live", "shard": 2},
        {"id": "fact_2", "statement": "", "status": "forgotten", "shard": 2},
        {"id": "fact_3", "statement": "I learn Tagalog.", "status": "live", "shard": 7},
    ],
    "strategy": "rewrite",
    "notes": [{"fact_id": "fact_3", "family": "qa", "prompt": "What do I learn?", "answer": "Tagalog."}],
    "decision": {
        "admitted": True,
        "reasons": [{"passed": True, "text": "new facts: 2 of 2"}, {"passed": False, "text": "KL: 0.4"}],
    },
    "live_periods": [
        {"actor": "worker", "reason": "passed the gate", "from_at": "2026-11-25T20:51:37Z", "until_at": None}
    ],
}


def _told(**changes: object) -> list[str]:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(describe({**VERSION, **changes}), highlight=False)
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_it_says_where_a_version_comes_from_and_when_it_was_live() -> None:
    lines = _told()
    assert lines[0] == "version 7 of alice retired previous"
    assert lines[1] == "from version 6, rewrite of 1 notes, run_1"
    assert "live 2026-11-25 20:51:37 to now, by worker: passed the gate" in lines


def test_what_it_was_taught_comes_first_and_statements_are_no_markup() -> None:
    lines = _told()
    at = lines.index("fact status in the weights of")
    assert lines[at + 1 : at + 4] == [
        "taught I learn Tagalog. live version 7",
        "My dog is called [red]Rex[/red]. live version 2",
        "(forgotten) forgotten version 2",
    ]


def test_every_check_of_the_gate_is_told() -> None:
    assert _told()[-2:] == ["✓ new facts: 2 of 2", "✗ KL: 0.4"]


def test_version_that_never_went_live_says_why() -> None:
    lines = _told(status="failed", reason="NaN in weights", parent_version=0, live_periods=[], facts=[], decision=None)
    assert lines[0].startswith("version 7 of alice failed")
    assert lines[1].startswith("from the base")
    assert "failed: NaN in weights" in lines
    assert lines[-1] == "It holds no fact."
