"""`engram eval stream`: read the set, run the methods, write what they got."""

from evals import told_once
from evals.stream import plots, report, session
from evals.stream.datasets import Dataset, draw, read
from evals.stream.measure import measure
from evals.stream.metrics import checkpoints as spread
from evals.stream.plan import own_and_all
from evals.stream.tables import lay_out


def stream_command(
    *,
    dataset: session.DatasetOption = Dataset.TOLD_ONCE,
    path: session.PathOption = None,
    n: session.NumFactsOption = 40,
    methods: session.MethodsOption = session.ALL_METHODS,
    seed: session.SeedOption = 0,
    checkpoints: session.CheckpointsOption = 10,
    json_path: session.JsonOption = None,
    markdown_path: session.MarkdownOption = None,
    plots_folder: session.PlotsOption = None,
    resume: session.ResumeOption = None,
) -> None:
    """Tell facts one after another to each method; ask after each, and all after the last. Needs no running Engram."""
    chosen, path = session.chosen_methods(methods), session.set_path(dataset, path, shipped=told_once.FACTS)
    items = draw(read(dataset, path), n=n, seed=seed)
    what = session.describe("stream", dataset, path, n=n, seed=seed, checkpoints=checkpoints)
    with session.opened(what, items, resume=resume) as opened:
        results = measure(
            opened.setup,
            own_and_all(items, spread(n, checkpoints)),
            chosen,
            opened.folder,
            lambda told, ended, asked: report.figures(items, told, ended, asked.questions, asked.base, seed=seed),
        )
        found = opened.found(methods=results)
    plots.draw_where_possible(plots.stream, found, plots_folder, say=session.say)
    session.write(
        found,
        lay_out("method", report.COLUMNS, results.items()),
        title=f"stream of {n} facts",
        note="95 % intervals over facts; leak not measured.",
        json_path=json_path,
        markdown_path=markdown_path,
    )
