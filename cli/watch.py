"""Show a learning run while it happens. The run's own record is the truth; its events only say when to look."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from cli.client import Api, CliError, segment
from cli.output import Column, cell, table
from engram.gate import stopped_early

FINISHED = ("published", "rejected", "failed")
MAX_BROKEN_STREAMS = 30
PAUSE_S = 1.0
SLICES = ("reliability", "generalization", "portability", "retention", "locality", "false_recall")

Run = Mapping[str, Any]


def watch(api: Api, run_id: str, *, console: Console) -> Run:
    """Follow a run to its end: redrawn in place in a terminal, a line an event elsewhere. Returns the ended run."""
    if not console.is_terminal:
        for run, event in progress(api, run_id):
            console.print(event_line(run, event), markup=False, highlight=False, soft_wrap=True)
        return run
    with Live(console=console, refresh_per_second=4) as live:
        for run, _ in progress(api, run_id):
            live.update(draw(run))
    return run


def progress(api: Api, run_id: str) -> Iterator[tuple[Run, str]]:
    """The run after each of its events, with the event in words. The last one yielded has ended."""
    path = f"/v1/learning-runs/{segment(run_id)}"
    run = api.get(path)
    yield run, "status"
    last_id = ""
    for _ in range(MAX_BROKEN_STREAMS):
        if run["status"] in FINISHED:
            return
        try:
            for event in api.run_events(run_id, after=last_id):
                last_id = event.id
                run = api.get(path)
                yield run, f"{event.name} {_words(json.loads(event.data))}".strip()
        except CliError:
            time.sleep(PAUSE_S)  # the server restarted, say; the record tells whether there is more to wait for
        run = api.get(path)
        yield run, "status"
    raise CliError(f"the event stream of {run_id} keeps breaking; see `engram runs show {run_id}`")


def event_line(run: Run, event: str) -> str:
    stage = run.get("stage") or "-"
    return f"{run['status']} {stage} {event if event != 'status' else ''}".rstrip()


def draw(run: Run) -> RenderableType:
    """A run in a few lines: where it is, how long each stage took, and its candidates with their scores."""
    parts: list[RenderableType] = [
        Text.assemble(f"{run['id']}  ", cell(run["status"]), f"  {run.get('stage') or ''}"),
        Text(_seconds(run.get("seconds") or {}), style="dim"),
    ]
    if candidates := run.get("candidates"):
        parts.append(table(candidates, candidate_columns(candidates)))
    parts += [Text(line) for line in outcome(run)]
    return Group(*parts)


def candidate_columns(candidates: list[Run]) -> list[Column]:
    """Strategy, number of notes, a column a probe slice that was asked, and the gate's word."""
    asked = [name for name in SLICES if any(name in _slices(candidate) for candidate in candidates)]
    columns: list[Column] = [
        ("candidate", lambda candidate: candidate.get("strategy")),
        ("notes", lambda candidate: len(_studied(candidate))),
    ]
    columns += [(name.replace("_", " "), _score_of(name)) for name in asked]
    columns.append(("gate", lambda candidate: _verdict(candidate.get("decision"))))
    return columns


def outcome(run: Run) -> list[str]:
    """What came of a run, once it has ended."""
    if run["status"] == "published":
        return [f"published version {run.get('published_version')}"]
    if run["status"] == "failed":
        return [f"failed: {run.get('error') or 'no reason was kept'}"]
    if run["status"] == "rejected":
        decision = run.get("decision") or {}
        failed = [str(reason["text"]) for reason in decision.get("reasons") or [] if not reason["passed"]]
        return [f"rejected: {'; '.join(failed) or run.get('error') or decision.get('reason') or 'no candidate passed'}"]
    return []


def _studied(candidate: Run) -> list[Any]:
    """Its notes but the wordings, which nothing is trained on."""
    return [note for note in candidate.get("notes") or [] if note["family"] != "wording"]


def _slices(candidate: Run) -> Mapping[str, Any]:
    return (candidate.get("report") or {}).get("slices") or {}


def _score_of(name: str) -> Callable[[Mapping[str, Any]], object]:
    def score(candidate: Mapping[str, Any]) -> object:
        found = _slices(candidate).get(name)
        return f"{found['right']}/{found['asked']}" if found else None

    return score


def _verdict(decision: Mapping[str, Any] | None) -> str | None:
    if decision is None:
        return None
    if stopped_early(decision):
        return "stopped early"
    return "admitted" if decision.get("admitted") else "rejected"


def _seconds(seconds: Mapping[str, Any]) -> str:
    return "  ".join(f"{stage} {value:.1f} s" for stage, value in seconds.items() if isinstance(value, int | float))


def _words(data: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in data.items() if isinstance(value, str | int | float))
