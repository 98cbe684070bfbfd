"""Growth is measured on the product, beside ledgers that look as if they had been learned."""

from pathlib import Path
from typing import cast

import pytest

from engram.lifecycle import AdapterStatus, FactStatus
from engram.repositories import AdapterRepository, FactRepository, SpaceRepository
from evals.bench import growth
from evals.bench.ledger import studied_facts
from evals.bench.seeded import seed
from evals.stream.methods.product import Product
from evals.stream.model import Setup
from tests.fakes.author import ScriptedAuthor
from tests.unit.evals.stream_fixtures import CAT, TOWN, tiny_setup
from worker.study import Study

OTHERS = studied_facts()[:3]


def _studies() -> list[Study]:
    """The author of the fixtures knows the first and the last."""
    return [
        Study("cat", CAT.statement, ()),
        *OTHERS,
        Study("cat", CAT.statement, ()),
        Study("town", TOWN.statement, ()),
    ]


@pytest.mark.usefixtures("_small")
def test_seeded_facts_are_live_each_with_a_shard_notes_and_probes(tmp_path: Path) -> None:
    product = Product(tiny_setup(tmp_path), tmp_path / "home")
    product.learn(CAT.statement)
    seed(product, OTHERS)
    with product.database.read() as session:
        facts, adapters = FactRepository(session), AdapterRepository(session)
        live = {fact.id: fact.statement for fact in facts.with_status(product.space_id, FactStatus.LIVE)}
        space = SpaceRepository(session).by_id(product.space_id)
        newest = adapters.get(space.id, space.live_version)
        held = adapters.held(newest.id)
        shards = [one.status for one in adapters.page(space.id, limit=10, cursor=None).rows]
        assert (
            {note.fact_id for note in facts.notes(live)} == {probe.fact_id for probe in facts.probes(live)} == set(live)
        )
    assert set(live.values()) == {CAT.statement, *(fact.statement for fact in OTHERS)}
    assert sorted(held.values()) == [1, 2, 3, 4]
    assert shards == [AdapterStatus.LIVE, *[AdapterStatus.RETIRED] * 3]
    product.learn(TOWN.statement)
    assert product.outcome == "live, v5"
    product.close()


@pytest.mark.usefixtures("_small")
def test_growth_is_the_ratio_of_learning_the_same_fact_after_many_and_after_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    monkeypatch.setattr(growth, "studied_facts", _studies)
    clock = iter([0.0, 1.0, 1.0, 2.0, 0.0, 20.0, 50.0, 80.0])  # the first two facts are those after a start
    figure = growth.run(tiny_setup(tmp_path), repeats=1, say=said.append, sizes=(2, 4), now=lambda: next(clock))
    assert figure.samples == [30.0 / 20.0]
    assert figure.details["median_s"] == {"2": 20.0, "4": 30.0}
    assert {size: one["seconds"] for size, one in figure.details["after_start"].items()} == {"2": 1.0, "4": 1.0}
    assert len(said) == 5


@pytest.mark.usefixtures("_small")
def test_facts_that_were_not_learned_make_no_figure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: list[str]
) -> None:
    setup = tiny_setup(tmp_path)
    knows_cat = Setup(setup.settings, setup.learner, cast(ScriptedAuthor, setup.author).__class__(facts=(CAT,)))
    monkeypatch.setattr(growth, "studied_facts", _studies)
    with pytest.raises(RuntimeError, match="none of 1 facts was learned in both ledgers"):
        growth.run(knows_cat, repeats=1, say=said.append, sizes=(2, 4))
