"""The author's training data keeps its rules (worker/author/data/README.md) and shares nothing with the evaluation."""

import calendar
import json
import re
from collections import Counter
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from engram.similarity import is_near_copy

ROOT = Path(__file__).parents[2]
TRAINING = ROOT / "worker" / "author" / "data"
EVALUATION = ROOT / "evals" / "data"

SHARED_RUN_WORDS = 6
NEAR_FRAME = 0.7
NEAR_CHAT = 0.6
OWN_WORDS = {"my", "our", "i", "i'm", "mine", "we", "us", "me"}

# Answers of the evaluation that everybody's facts share: a closed set, not a value that could be learned by heart.
DAYS_AND_MONTHS = frozenset(name.lower() for name in (*calendar.day_name, *calendar.month_name))


@cache
def _rows(folder: Path, pattern: str) -> list[dict[str, Any]]:
    rows = []
    for path in sorted(folder.glob(pattern)):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            rows.append({**json.loads(line), "at": f"{path.name}:{number}"})
    return rows


def _training() -> list[dict[str, Any]]:
    return _rows(TRAINING, "facts-*.jsonl")


def _quoted() -> list[tuple[str, str, str]]:
    """Every quote of every message with facts: of those with notes, and of those for extraction alone."""
    rows = _training() + _rows(TRAINING, "quotes-*.jsonl")
    return [(row["at"], row["message"], fact["quote"]) for row in rows for fact in row["facts"]]


def _facts() -> list[tuple[str, str, dict[str, Any]]]:
    return [(row["at"], row["message"], fact) for row in _training() for fact in row["facts"]]


def _details() -> list[tuple[str, str, dict[str, Any]]]:
    return [(at, fact["quote"], detail) for at, _, fact in _facts() for detail in fact["details"]]


def _told_once() -> list[dict[str, Any]]:
    return _rows(EVALUATION, "told_once.jsonl")


def _updates() -> list[dict[str, Any]]:
    return _rows(EVALUATION, "updates.jsonl")


def _evaluated_statements() -> dict[str, str]:
    """Every statement that an evaluation tells, with its row."""
    told = {row["statement"]: row["id"] for row in _told_once()}
    return told | {row[when]: f"{row['id']} {when}" for row in _updates() for when in ("before", "after")}


def _update_golds(probe: dict[str, Any]) -> list[str]:
    aliases = probe.get("aliases", {})
    return [gold for when in ("before", "after") for gold in (probe[when], *aliases.get(when, []))]


def _words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+(?:['’.:,][^\W_]+)*", text.lower())


def _holds(text: str, part: str) -> bool:
    """Whether `part` stands in `text` as whole words, in any case."""
    return re.search(rf"(?<!\w){re.escape(part.lower())}(?!\w)", text.lower()) is not None


def _runs(text: str, size: int) -> set[tuple[str, ...]]:
    words = _words(text)
    return {tuple(words[i : i + size]) for i in range(len(words) - size + 1)}


def _frame(text: str, values: list[str]) -> str:
    """A sentence without its names, numbers and values: what two sentences must not share."""
    for value in sorted(values, key=len, reverse=True):
        text = re.sub(rf"(?<!\w){re.escape(value)}(?!\w)", "VALUE", text, flags=re.IGNORECASE)
    text = re.sub(r"(?<=[a-z,;] )[A-Z]\w+(?: [A-Z]\w+)*", "VALUE", text)
    text = re.sub(r"\w*\d[\w.:,/]*", "VALUE", text)
    return " ".join(word for word, after in pairwise([*_words(text), ""]) if not (word == after == "value"))


# Training data: its own rules


def test_there_is_enough_of_it() -> None:
    assert len(_training()) >= 600
    assert len(_rows(TRAINING, "chatter-*.jsonl")) >= 150
    assert len({row["domain"] for row in _training()}) >= 20


def test_no_message_stands_twice() -> None:
    everything = [row for kind in ("facts", "quotes", "chatter") for row in _rows(TRAINING, f"{kind}-*.jsonl")]
    counted = Counter(" ".join(_words(row["message"])) or row["message"] for row in everything)
    assert [message for message, count in counted.items() if count > 1] == []


def test_rows_have_the_documented_keys() -> None:
    for row in _training():
        assert set(row) == {"domain", "message", "facts", "at"}, row["at"]
        assert row["facts"], row["at"]
        for fact in row["facts"]:
            assert set(fact) == {"quote", "details", "rewrites", "implications"}, row["at"]
    for row in _rows(TRAINING, "quotes-*.jsonl"):
        assert set(row) == {"domain", "message", "facts", "at"}, row["at"]
        assert row["facts"], row["at"]
        assert all(set(fact) == {"quote"} for fact in row["facts"]), row["at"]
    for row in _rows(TRAINING, "chatter-*.jsonl"):
        assert (set(row), row["facts"]) == ({"message", "facts", "at"}, []), row["at"]


def test_a_quote_is_a_verbatim_part_of_its_message_between_clause_boundaries() -> None:
    assert [(at, quote) for at, message, quote in _quoted() if not _is_whole_part(quote, message)] == []


def _is_whole_part(quote: str, message: str) -> bool:
    start = message.find(quote)
    if start < 0:
        return False
    before, after = message[:start].rstrip(), message[start + len(quote) :].lstrip()
    opens = (
        not before or before[-1] in ".!?,;:-–—…()\"'”“*\n" or not before[-1].isascii() or _is_joint(before.split()[-1])
    )
    ends = not after or quote[-1] in '.!?,;:)"' or after[0] in ".!?,;:-–—…()\"'”“*\n" or not after[0].isascii()
    return opens and (ends or _is_joint(after.split()[0]))


def _is_joint(word: str) -> bool:
    joints = (
        "and but because so since as though although while which where who if when or before that for cause cos cuz"
    )
    return word.lower().strip(",.") in joints.split()


def test_quotes_of_one_message_do_not_overlap() -> None:
    for row in _training() + _rows(TRAINING, "quotes-*.jsonl"):
        spans = sorted((row["message"].find(f["quote"]), len(f["quote"])) for f in row["facts"])
        assert all(start + size <= later for (start, size), (later, _) in pairwise(spans)), row["at"]


def test_an_answer_is_a_short_verbatim_part_of_its_quote() -> None:
    bad = [
        (at, detail["answer"])
        for at, quote, detail in _details()
        if detail["answer"] not in quote
        or not 1 <= len(detail["answer"].split()) <= 6
        or OWN_WORDS & set(_words(detail["answer"]))
    ]
    assert bad == []


def test_no_question_holds_its_answer() -> None:
    bad = [
        (at, detail["answer"], question)
        for at, _, detail in _details()
        for question in detail["questions"]
        if _holds(question, detail["answer"])
    ]
    assert bad == []


def test_a_detail_has_four_or_five_different_questions() -> None:
    for at, _, detail in _details():
        assert 4 <= len(detail["questions"]) <= 5, at
        assert len({" ".join(_words(question)) for question in detail["questions"]}) == len(detail["questions"]), at


def test_a_reply_holds_the_answer() -> None:
    assert [(at, d["answer"], d["reply"]) for at, _, d in _details() if d["answer"] not in d["reply"]] == []


def test_a_fact_has_its_details_rewrites_and_implications() -> None:
    for at, _, fact in _facts():
        assert 1 <= len(fact["details"]) <= 4, at
        assert len(fact["rewrites"]) == len(set(fact["rewrites"])) == 3, at
        assert len(fact["implications"]) == 2, at
        assert all(pair["question"].strip() and pair["answer"].strip() for pair in fact["implications"]), at


def test_what_is_said_to_the_user_is_in_the_second_person() -> None:
    said = [(at, text) for at, _, fact in _facts() for text in fact["rewrites"]]
    said += [(at, detail["reply"]) for at, _, detail in _details()]
    assert [(at, text) for at, text in said if {"my", "our", "i", "i'm"} & set(_words(_unquoted(text)))] == []


def _unquoted(text: str) -> str:
    return re.sub(r"[\"“].*?[\"”]", "", text)


# Evaluation data: its own rules


def test_the_told_once_set_has_forty_different_statements() -> None:
    rows = _told_once()
    assert len(rows) == len({row["id"] for row in rows}) == len({row["message"] for row in rows}) == 40
    for row in rows:
        assert row["statement"] in row["message"], row["id"]
        assert all(_holds(row["statement"], value) for value in row["required"]), row["id"]
        assert all(filler in row["message"] for filler in row["filler"]), row["id"]
        assert all(filler not in row["statement"] for filler in row["filler"]), row["id"]


def test_no_probe_of_the_evaluation_holds_its_answer() -> None:
    for row in _told_once():
        assert row["probes"], row["id"]
        for probe in row["probes"]:
            golds = [probe["answer"], *probe["aliases"]]
            assert not any(_holds(probe["question"], gold) for gold in golds), (row["id"], probe)


def test_there_are_thirty_updates_whose_two_statements_hold_one_answer_each() -> None:
    rows = _updates()
    assert len(rows) == len({row["id"] for row in rows}) == 30
    assert len(_evaluated_statements()) == 2 * 30 + 40
    for row in rows:
        assert set(row) == {"id", "before", "after", "probes", "at"}, row["at"]
        assert len(row["probes"]) >= 2, row["at"]
        for probe in row["probes"]:
            assert _holds(row["before"], probe["before"]), (row["at"], probe)
            assert _holds(row["after"], probe["after"]), (row["at"], probe)
            assert not _holds(row["after"], probe["before"]), (row["at"], probe)


def test_no_probe_of_an_update_holds_an_answer_or_nearly_copies_a_statement() -> None:
    for row in _updates():
        for probe in row["probes"]:
            assert not any(_holds(probe["question"], gold) for gold in _update_golds(probe)), (row["at"], probe)
            assert not any(is_near_copy(probe["question"], row[when], threshold=0.5) for when in ("before", "after"))


def test_no_value_of_an_update_is_told_elsewhere_in_the_evaluations_or_answers_a_control() -> None:
    texts = [row["message"] for row in _told_once() + _rows(EVALUATION, "chatter.jsonl")]
    texts += [row["answer"] for row in _rows(EVALUATION, "controls.jsonl")]
    values = {gold for row in _updates() for probe in row["probes"] for gold in _update_golds(probe)}
    values = {value for value in values if value.lower().removesuffix("s") not in DAYS_AND_MONTHS}
    assert [(value, text) for value in values for text in texts if _holds(text, value)] == []


@pytest.mark.parametrize(("name", "key", "least"), [("chatter", "message", 100), ("controls", "question", 50)])
def test_the_other_evaluation_sets_are_large_enough_and_hold_nothing_twice(name: str, key: str, least: int) -> None:
    texts = [row[key] for row in _rows(EVALUATION, f"{name}.jsonl")]
    assert len(texts) >= least
    assert len(set(texts)) == len(texts)


def test_controls_do_not_hold_their_answers() -> None:
    for row in _rows(EVALUATION, "controls.jsonl"):
        assert not any(_holds(row["question"], gold) for gold in (row["answer"], *row["aliases"])), row


# Between the two: nothing shared


@cache
def _evaluation_values() -> frozenset[str]:
    """Names and values that the evaluation asks for."""
    values = {value for row in _told_once() for value in row["required"]}
    values |= {gold for row in _told_once() for probe in row["probes"] for gold in (probe["answer"], *probe["aliases"])}
    values |= {gold for row in _updates() for probe in row["probes"] for gold in _update_golds(probe)}
    return frozenset(value for value in values if value.lower().removesuffix("s") not in DAYS_AND_MONTHS)


def test_no_name_or_value_of_the_evaluation_occurs_in_training() -> None:
    shared = [
        (at, value) for at, _, fact in _facts() for value in _evaluation_values() if _holds(_all_text(fact), value)
    ]
    shared += [(at, value) for at, _, quote in _quoted() for value in _evaluation_values() if _holds(quote, value)]
    assert shared == []


def _all_text(fact: dict[str, Any]) -> str:
    """Everything of a fact that the author is trained to write."""
    pairs = [pair for detail in fact["details"] for pair in (detail["answer"], detail["reply"], *detail["questions"])]
    implied = [text for pair in fact["implications"] for text in pair.values()]
    return " \n ".join([fact["quote"], *fact["rewrites"], *pairs, *implied])


def test_no_sentence_frame_is_shared_or_nearly_so() -> None:
    values = list(_evaluation_values())
    evaluated = {_frame(statement, values): name for statement, name in _evaluated_statements().items()}
    trained = [(at, _frame(fact["quote"], [d["answer"] for d in fact["details"]])) for at, _, fact in _facts()]
    trained += [(at, _frame(quote, [])) for at, _, quote in _quoted()]
    shared = []
    for at, frame in trained:
        near = (other for other in evaluated if is_near_copy(frame, other, threshold=NEAR_FRAME))
        shared += [(at, evaluated[other], frame) for other in near]
    assert shared == []


def test_two_statements_that_differ_in_their_names_only_have_one_frame() -> None:
    first = _frame("My dog Rufus, a beagle, turned 9 in York.", ["Rufus", "beagle", "9"])
    assert first == _frame("My dog Zebedee, a Great Dane, turned 14 in Ghent.", ["Zebedee", "Great Dane", "14"])
    assert first != _frame("Rufus is my dog, a beagle of 9.", ["Rufus", "beagle", "9"])


def test_no_run_of_six_words_is_shared() -> None:
    statements = _evaluated_statements().items()
    evaluated = {run: name for statement, name in statements for run in _runs(statement, SHARED_RUN_WORDS)}
    shared = [
        (row["at"], evaluated[run], " ".join(run))
        for row in _training() + _rows(TRAINING, "quotes-*.jsonl")
        for run in _runs(row["message"], SHARED_RUN_WORDS) & set(evaluated)
    ]
    assert shared == []


def test_no_chat_of_the_evaluation_was_trained_on() -> None:
    trained = _rows(TRAINING, "chatter-*.jsonl")
    evaluated = _rows(EVALUATION, "chatter.jsonl")
    shared = [
        (row["at"], other["at"])
        for row in trained
        for other in evaluated
        if is_near_copy(row["message"], other["message"], threshold=NEAR_CHAT)
    ]
    assert shared == []


def test_no_evaluation_question_is_nearly_a_training_question() -> None:
    values = list(_evaluation_values())
    rows = _told_once() + _updates()
    asked = [(row["id"], _frame(probe["question"], values)) for row in rows for probe in row["probes"]]
    asked += [(row["at"], _frame(row["question"], [])) for row in _rows(EVALUATION, "false_recall.jsonl")]
    trained = {
        _frame(question, [other["answer"] for other in fact["details"]]): at
        for at, _, fact in _facts()
        for detail in fact["details"]
        for question in detail["questions"]
    }
    by_word: dict[str, set[str]] = {}
    for frame in trained:
        for word in frame.split():
            by_word.setdefault(word, set()).add(frame)
    shared = []
    for name, question in asked:
        # A near copy shares nearly all words, so it has one of the three rarest.
        rarest = sorted(set(question.split()), key=lambda word: len(by_word.get(word, ())))[:3]
        near = {frame for word in rarest for frame in by_word.get(word, ()) if is_near_copy(question, frame)}
        shared += [(trained[frame], name, frame) for frame in near]
    assert shared == []
