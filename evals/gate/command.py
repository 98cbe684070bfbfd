"""`engram eval gate`: make bad and good candidates, and print what the gate gets wrong."""

import time
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import Progress

from engram.errors import EngramError
from engram.settings import Settings
from evals.gate import report
from evals.gate import run as gate_run
from evals.gate.build import Options
from evals.gate.records import Records
from evals.stream import session, tables
from evals.stream.records import claim
from worker.teaching import STRENGTHS


def gate_command(
    *,
    path: Annotated[
        Path | None, typer.Option(help="Facts and probes, one JSON object a line. Default: the author's held-out ones.")
    ] = None,
    bad: Annotated[
        int, typer.Option(min=1, help="Candidates made bad on purpose, at least; as many of each kind.")
    ] = 60,
    good: Annotated[
        int, typer.Option(min=0, help="Good candidates, at least, if three times as many tries suffice.")
    ] = 30,
    seed: Annotated[int, typer.Option(help="Seed of facts, notes and training.")] = 0,
    json_path: session.JsonOption = None,
    markdown_path: session.MarkdownOption = None,
    resume: session.ResumeOption = None,
) -> None:
    """Make bad and good candidates in this process, without an engine; count what the gate gets wrong."""
    started, settings = time.monotonic(), Settings()
    options = Options(num_bad=bad, num_good=good, seed=seed)
    what = {"eval": "gate", "path": str(path.resolve()) if path else None, "wanted": [bad, good], "seed": seed}
    with session.state_folder(resume) as folder:
        claim(folder, {**what, "model": settings.model, "strengths": list(STRENGTHS)})
        try:
            bench = gate_run.open_bench(settings, options, path=path, say=session.say)
        except EngramError as error:
            raise RuntimeError(error.message) from error
        with Progress(console=session.console) as progress:
            bars = [progress.add_task(name, total=total) for name, total in (("bad", bad), ("good", good))]

            def show(*done: int) -> None:
                for bar, count in zip(bars, done, strict=True):
                    progress.update(bar, completed=count)

            figures = gate_run.run(bench, Records(folder), show)
    found = {**what, "seconds": time.monotonic() - started, **figures}
    rows, title = report.rows(figures), report.title(figures)
    head = f"`engram eval gate --bad {bad} --good {good} --seed {seed}`: {title}."
    session.write_files(found, rows, head=head, json_path=json_path, markdown_path=markdown_path)
    session.console.print(tables.terminal(rows, title=title))
