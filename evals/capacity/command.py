"""`engram eval capacity`: tell facts, ask all of them now and then, print and draw the curve."""

from evals import told_once
from evals.capacity import report
from evals.stream import plots, session
from evals.stream.datasets import Dataset, draw, read
from evals.stream.measure import measure
from evals.stream.metrics import checkpoints as spread
from evals.stream.tables import lay_out


def capacity_command(
    *,
    dataset: session.DatasetOption = Dataset.TOLD_ONCE,
    path: session.PathOption = None,
    n: session.NumFactsOption = 40,
    methods: session.MethodsOption = "engram",
    seed: session.SeedOption = 0,
    checkpoints: session.CheckpointsOption = 10,
    json_path: session.JsonOption = None,
    markdown_path: session.MarkdownOption = None,
    plots_folder: session.PlotsOption = None,
    resume: session.ResumeOption = None,
) -> None:
    """Tell facts one after another; now and then ask all so far, and what must not change. Needs no running Engram."""
    chosen, path = session.chosen_methods(methods), session.set_path(dataset, path, shipped=told_once.FACTS)
    items = draw(read(dataset, path), n=n, seed=seed)
    what = session.describe("capacity", dataset, path, n=n, seed=seed, checkpoints=checkpoints)
    plan = report.make_plan(items, spread(n, checkpoints))
    with session.opened(what, items, resume=resume) as opened:
        results = measure(
            opened.setup,
            plan,
            chosen,
            opened.folder,
            lambda told, ended, asked: report.figures(plan, told, ended, asked.questions, asked.base, seed=seed),
        )
        found = opened.found(methods=results)
    plots.draw_where_possible(plots.capacity, found, plots_folder, say=session.say)
    session.write(
        found,
        lay_out("method", report.COLUMNS, report.rows(results)),
        title=f"capacity for {n} facts",
        note="95 % intervals over facts.",
        json_path=json_path,
        markdown_path=markdown_path,
    )
