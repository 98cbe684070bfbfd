"""Facts for the gate's evaluation: nobody's answers in another's statement, and a person's questions kept back."""

import json
from pathlib import Path

import pytest

from engram.similarity import is_near_copy
from evals.gate.build import Bench
from evals.gate.facts import Fact, cast, load
from evals.gate.material import by_author
from evals.told_once import FACTS
from worker.author.dataset import load_examples, split


def test_facts_are_the_examples_that_the_author_never_trained_on(facts: list[Fact]) -> None:
    trained = {fact["quote"] for example in split(load_examples())[0] for fact in example["facts"]}
    assert len(facts) > 30
    assert not trained & {fact.statement for fact in facts}


def test_each_fact_is_new_once_before_any_is_again(facts: list[Fact]) -> None:
    casts = [cast(facts, group=group, num_earlier=5, num_new=3, seed=1) for group in range(len(facts) // 3)]
    new = [fact.fact_id for one in casts for fact in one.new]
    assert len(set(new)) == len(new)


def test_answers_of_a_cast_stand_in_no_other_fact_of_it(facts: list[Fact]) -> None:
    for group in range(8):
        one = cast(facts, group=group, num_earlier=5, num_new=2, seed=0)
        others = [*one.earlier, one.other]
        assert len(one.earlier) == 5
        assert not any(a.collides(b) for a in others for b in (*others, *one.new) if a != b)


def test_cast_is_the_same_for_a_seed_and_another_for_another(facts: list[Fact]) -> None:
    first, again, other = (cast(facts, group=1, num_earlier=4, num_new=2, seed=seed) for seed in (3, 3, 4))
    assert first == again != other


def test_told_once_rows_become_facts_with_every_alias(tmp_path: Path) -> None:
    found = load(FACTS)
    rows = [json.loads(line) for line in FACTS.read_text().splitlines()]
    assert [fact.statement for fact in found] == [row["statement"] for row in rows]
    assert len(found[0].questions) == len(rows[0]["probes"])
    ochre = next(fact for fact in found if "ochre" in fact.answers)
    assert "ocher" in ochre.answers


def test_too_few_facts_are_refused(tmp_path: Path) -> None:
    few = tmp_path / "few.jsonl"
    few.write_text("\n".join(FACTS.read_text().splitlines()[:3]))
    with pytest.raises(RuntimeError, match="hold 3 facts"):
        load(few)


def test_questions_kept_back_copy_no_note_and_no_probe(bench: Bench) -> None:
    written = by_author(bench.facts, bench.author, seed=0)
    for one in written:
        seen = [note.prompt for draft in one.drafts for note in draft.notes] + [p.question for p in one.probes]
        assert not any(is_near_copy(kept.question, other) for kept in one.kept_back for other in seen)
    assert all(one.is_usable for one in written)
