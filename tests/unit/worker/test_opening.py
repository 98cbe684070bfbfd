"""The shipped author writes on the base that it was trained for, and on no other."""

from pathlib import Path
from typing import Any, cast

import pytest

from engram.settings import Settings
from worker import opening
from worker.base_model import EMBEDDED_NAME
from worker.encoder import ADAPTER_DIR
from worker.learner import Learner
from worker.opening import OpenedBase, open_base
from worker.training.anchors import shipped_answers

LEARNER = cast(Learner, object())


@pytest.mark.parametrize(("name", "fits"), [(EMBEDDED_NAME, True), ("Qwen2.5-0.5B-Instruct", False)])
def test_shipped_author_fits_the_embedded_base_alone(name: str, fits: bool) -> None:
    assert OpenedBase(Path("models") / name, LEARNER).author_fits is fits


def test_author_of_another_base_is_that_base_with_examples_in_its_prompt() -> None:
    author = OpenedBase(Path("models/Qwen2.5-0.5B-Instruct"), LEARNER).author()
    assert author.learner is LEARNER
    assert author.weights is None
    assert author.shots


@pytest.mark.parametrize(
    ("name", "ships"), [(EMBEDDED_NAME, {"encoder": ADAPTER_DIR, "shipped": shipped_answers()}), ("base", {})]
)
def test_base_is_loaded_from_where_it_was_prepared_with_what_ships_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, ships: dict[str, Any]
) -> None:
    monkeypatch.setattr(opening, "prepare", lambda settings: settings.models_dir / name)
    monkeypatch.setattr(opening, "open_encoder", lambda: "sentences")
    monkeypatch.setattr(opening, "open_learner", lambda path, settings, **others: (path, settings, others))
    settings = Settings(home=tmp_path)
    opened = open_base(settings)
    assert opened.path == settings.models_dir / name
    assert opened.learner == (opened.path, settings, {"sentences": "sentences", **ships})
