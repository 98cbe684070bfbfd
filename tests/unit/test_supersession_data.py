"""The judge's pairs share no sentence with the evaluation, and the held-out ones none with those trained on."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import chain

from engram.similarity import is_near_copy
from tests.unit.test_author_data import _evaluated_statements, _runs
from worker.supersession.examine import CONFLICTS
from worker.supersession.train import HELD_OUT, WRITTEN, Example, read_examples

SHARED_RUN_WORDS = 6


def _statements(examples: list[Example]) -> list[str]:
    return list(dict.fromkeys(chain.from_iterable((each.old, each.new) for each in examples)))


def _near_copies(own: Iterable[str], others: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Compared are those that share three words in a row: all pairs would take minutes."""
    by_run = defaultdict(set)
    for other in others:
        for run in _runs(other, 3):
            by_run[run].add(other)
    for text in own:
        alike = set().union(*(by_run.get(run, ()) for run in _runs(text, 3)))
        yield from ((text, other) for other in sorted(alike) if is_near_copy(text, other))


TRAINED, EXAMINED = read_examples(WRITTEN), read_examples(HELD_OUT)


def test_there_is_enough_of_both_kinds() -> None:
    kinds = Counter(each.replaces for each in TRAINED)
    assert min(kinds.values()) >= 1000
    assert min(Counter(each.replaces for each in EXAMINED).values()) >= 100


def test_no_pair_stands_twice() -> None:
    counted = Counter((each.old, each.new) for each in (*TRAINED, *EXAMINED))
    assert [pair for pair, count in counted.items() if count > 1] == []


def test_conflicts_are_of_held_out_statements() -> None:
    conflicts = read_examples(CONFLICTS)
    assert {each.old for each in conflicts} <= {each.old for each in EXAMINED}
    assert {each.new for each in conflicts} <= {each.new for each in EXAMINED}
    assert not {(each.old, each.new) for each in conflicts} & {(each.old, each.new) for each in EXAMINED}


def test_no_statement_is_a_near_copy_of_an_evaluated_one() -> None:
    assert list(_near_copies(_statements([*TRAINED, *EXAMINED]), _evaluated_statements())) == []


def test_no_statement_shares_a_run_of_words_with_an_evaluated_one() -> None:
    runs = set().union(*(_runs(told, SHARED_RUN_WORDS) for told in _evaluated_statements()))
    assert [own for own in _statements(TRAINED) if _runs(own, SHARED_RUN_WORDS) & runs] == []


def test_no_held_out_statement_is_trained_on() -> None:
    assert list(_near_copies(_statements(EXAMINED), _statements(TRAINED))) == []


def test_near_copies_are_found() -> None:
    assert list(_near_copies(["My dentist is Dr Lund."], ["my dentist is Dr Lund", "I like tea."])) != []
