"""Draw reports, where matplotlib is installed."""

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from evals.stream.metrics import Matrix, by_lag

Draw = Callable[[Mapping[str, Any], Path], list[Path]]

_LAGS = 5
MISSING = "no plots: matplotlib is not installed in this environment"


def is_available() -> bool:
    return find_spec("matplotlib") is not None


def draw_where_possible(
    draw: Draw, report: Mapping[str, Any], folder: Path | None, *, say: Callable[[str], None]
) -> None:
    """Draw a report into `folder`, if one is given and matplotlib is installed; say what was drawn, or why nothing."""
    if folder is None:
        return
    if not is_available():
        say(MISSING)
        return
    import matplotlib

    matplotlib.use("Agg")
    folder.mkdir(parents=True, exist_ok=True)
    for path in draw(report, folder):
        say(f"drawn: {path}")


def stream(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `forgetting.png` (recall of fact i after k facts, by method) and `lag.png`. Returns the files."""
    matrices: dict[str, Matrix] = {name: one["matrix"] for name, one in report["methods"].items()}
    title = _title(report)
    return [_forgetting(matrices, title, folder / "forgetting.png"), _lag(matrices, title, folder / "lag.png")]


def capacity(report: Mapping[str, Any], folder: Path) -> list[Path]:
    """Write `capacity.png`: recall of all facts told so far by their number, with its interval. Returns the file."""
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, one in report["methods"].items():
        points = [point for point in one["points"] if point["recall"] is not None]
        facts = [point["facts"] for point in points]
        (line,) = axis.plot(facts, [point["recall"] for point in points], marker=".", label=name)
        low, high = zip(*(point["intervals"]["recall"] for point in points), strict=True)
        axis.fill_between(facts, low, high, alpha=0.15, color=line.get_color())
    axis.set(title=_title(report), xlabel="facts told", ylabel="recall of all of them", ylim=(-0.02, 1.02))
    axis.legend()
    return [_save(figure, folder / "capacity.png")]


def _title(report: Mapping[str, Any]) -> str:
    return f"{report['dataset']}, {report['n']} facts, seed {report['seed']}"


def _forgetting(matrices: Mapping[str, Matrix], title: str, path: Path) -> Path:
    """One heat map a method; what was not asked stays white."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        1, len(matrices), figsize=(3.2 * len(matrices) + 1, 3.6), squeeze=False, layout="constrained"
    )
    for axis, (name, matrix) in zip(axes[0], matrices.items(), strict=True):
        numbers = [[float("nan") if recall is None else recall for recall in row] for row in matrix]
        shown = axis.imshow(numbers, vmin=0, vmax=1, cmap="viridis", interpolation="nearest")
        axis.set(title=name, xlabel="fact", ylabel="last fact told")
    figure.colorbar(shown, ax=axes[0].tolist(), label="recall")
    figure.suptitle(title)
    return _save(figure, path)


def _lag(matrices: Mapping[str, Matrix], title: str, path: Path) -> Path:
    from matplotlib import pyplot

    figure, axis = pyplot.subplots(figsize=(6, 4), layout="constrained")
    for name, matrix in matrices.items():
        recall = by_lag(matrix, width=max(1, len(matrix) // _LAGS))
        axis.plot([_in_words(lags) for lags in recall], list(recall.values()), marker=".", label=name)
    axis.set(title=title, xlabel="facts told since", ylabel="recall", ylim=(-0.02, 1.02))
    axis.legend()
    return _save(figure, path)


def _in_words(lags: range) -> str:
    return f"{lags.start}–{lags.stop - 1}" if len(lags) > 1 else str(lags.start)


def _save(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, dpi=150)
    pyplot.close(figure)
    return path
