"""`engram eval update`: tell facts, then what replaces them, and see which answer is given."""

from typing import Annotated

import typer

from evals.stream import session
from evals.stream.datasets import Dataset
from evals.stream.measure import measure
from evals.stream.tables import lay_out
from evals.update import report
from evals.update.pairs import UPDATES, draw_pairs, read_pairs


def update_command(
    *,
    dataset: session.DatasetOption = Dataset.TOLD_ONCE,
    path: session.PathOption = None,
    n: Annotated[int, typer.Option(min=1, help="How many facts to tell and to replace, drawn by the seed.")] = 30,
    methods: session.MethodsOption = session.ALL_METHODS,
    seed: session.SeedOption = 0,
    json_path: session.JsonOption = None,
    markdown_path: session.MarkdownOption = None,
    resume: session.ResumeOption = None,
) -> None:
    """Tell facts, then others that answer the same questions anew; count new and stale answers."""
    chosen, path = session.chosen_methods(methods), session.set_path(dataset, path, shipped=UPDATES)
    pairs = draw_pairs(read_pairs(dataset, path), n=n, seed=seed)
    plan = report.make_plan(pairs)
    what = session.describe("update", dataset, path, n=n, seed=seed)
    with session.opened(what, plan.items, resume=resume) as opened:
        results = measure(
            opened.setup,
            plan,
            chosen,
            opened.folder,
            lambda told, ended, asked: report.figures(pairs, told, ended, asked.questions, asked.base, seed=seed),
        )
        found = opened.found(methods=results)
    session.write(
        found,
        lay_out("method", report.COLUMNS, results.items()),
        title=f"{n} facts and their updates",
        note="95 % intervals over facts.",
        json_path=json_path,
        markdown_path=markdown_path,
    )
