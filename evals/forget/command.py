"""`engram eval forget`: tell facts, delete some, and see whether they are gone and the rest is not."""

from typing import Annotated

import typer

from evals import told_once
from evals.forget import report
from evals.forget.run import run
from evals.stream import session
from evals.stream.datasets import Dataset, draw, read
from evals.stream.measure import bars, open_reference
from evals.stream.tables import lay_out


def forget_command(
    *,
    dataset: session.DatasetOption = Dataset.TOLD_ONCE,
    path: session.PathOption = None,
    n: Annotated[int, typer.Option(min=2, help="How many facts to tell, drawn and ordered by the seed.")] = 40,
    forget: Annotated[
        int, typer.Option(min=1, help="How many of those that were learned to forget, by the seed.")
    ] = 20,
    seed: session.SeedOption = 0,
    json_path: session.JsonOption = None,
    markdown_path: session.MarkdownOption = None,
    resume: session.ResumeOption = None,
) -> None:
    """Tell Engram facts one after another, delete some of them, let it rebuild; compare with before and the base."""
    if forget >= n:
        raise typer.BadParameter(f"to forget {forget} of {n} leaves none to keep", param_hint="--forget")
    path = session.set_path(dataset, path, shipped=told_once.FACTS)
    items = draw(read(dataset, path), n=n, seed=seed)
    what = session.describe("forget", dataset, path, n=n, seed=seed, forget=forget)
    with session.opened(what, items, resume=resume) as opened:
        reference = open_reference(opened.setup, items)
        with bars() as progress:
            found = run(opened.setup, items, reference, opened.folder, count=forget, progress=progress)
        figures = report.figures(items, found, reference.questions, reference.base, seed=seed)
        results = opened.found(**figures)
    session.write(
        results,
        lay_out("method", report.COLUMNS, [("engram", figures)]),
        title=f"{figures['forgotten']} of {n} facts forgotten",
        note=f"{figures['forgotten']} facts forgotten; 95 % intervals over facts.",
        json_path=json_path,
        markdown_path=markdown_path,
    )
