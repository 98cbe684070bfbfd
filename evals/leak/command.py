"""`engram eval leak`: tell facts in one space, and ask for them in another and in an empty one."""

from typing import Annotated

import typer

from evals import told_once
from evals.leak import report
from evals.leak.run import run
from evals.stream import session
from evals.stream.datasets import Dataset, draw, read
from evals.stream.measure import bars, open_reference
from evals.stream.tables import lay_out


def leak_command(
    *,
    dataset: session.DatasetOption = Dataset.TOLD_ONCE,
    path: session.PathOption = None,
    n: Annotated[int, typer.Option(min=1, help="How many facts to tell the first space, drawn by the seed.")] = 20,
    own: Annotated[int, typer.Option(min=1, help="How many other facts to tell its neighbour.")] = 5,
    seed: session.SeedOption = 0,
    json_path: session.JsonOption = None,
    markdown_path: session.MarkdownOption = None,
    resume: session.ResumeOption = None,
) -> None:
    """Tell one space facts, a second one a few others, a third none; ask the others for the facts of the first."""
    path = session.set_path(dataset, path, shipped=told_once.FACTS)
    drawn = draw(read(dataset, path), n=n + own, seed=seed)
    items, others = drawn[:n], drawn[n:]
    what = session.describe("leak", dataset, path, n=n, seed=seed, own=own)
    with session.opened(what, drawn, resume=resume) as opened:
        reference = open_reference(opened.setup, drawn)
        with bars() as progress:
            found = run(opened.setup, items, others, reference=reference, folder=opened.folder, progress=progress)
        figures = report.figures(items, others, found, seed=seed)
        results = opened.found(**figures)
    session.write(
        results,
        lay_out("space", report.COLUMNS, figures["spaces"].items()),
        title=f"leak of {n} facts",
        note="95 % intervals over facts.",
        json_path=json_path,
        markdown_path=markdown_path,
    )
