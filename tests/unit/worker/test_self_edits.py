"""Self-edits: what the author wrote is checked, probes are held out, and strategies train on different notes."""

import pytest

from engram.similarity import is_near_copy
from tests.fakes.author import KnownFact, ScriptedAuthor
from worker.author import tasks
from worker.author.client import GREEDY, Sampling
from worker.author.tasks import Question, write_questions
from worker.self_edits import (
    STRATEGIES,
    HeldOut,
    Strategy,
    Study,
    choose_probes,
    is_checkable,
    is_true_to,
    notes_of,
    study,
)

RECITES = Strategy("recites", ("qa", "rewrite"), recites=True)
REPLIES = Strategy("replies", ("qa", "rewrite"), recites=False)
STATEMENT = "My cat Biscuit turned 7 in May."
NAME = Question("What is my cat called?", "Biscuit", "Your cat is called Biscuit.")
AGE = Question("How old is my pet now?", "7", "Your cat is 7.")
MONTH = Question("In which month is the birthday of my cat?", "May", "In May.")
NAME_PROBE = Question("Which name did I give to the animal I keep?", "Biscuit")
AGE_PROBE = Question("Tell me the age of the feline in years", "7")
MONTH_PROBE = Question("When in spring should I buy a treat for a party?", "May")
FACT = KnownFact(
    STATEMENT,
    questions=(NAME, AGE, MONTH),
    probes=(NAME_PROBE, AGE_PROBE, MONTH_PROBE),
    rewrites=("Biscuit turned seven, your cat did.", "Biscuit, your cat, turned seven in May."),
    implications=(Question("Do I have a pet?", "Yes, your cat Biscuit."),),
)


def _study(**changes: object) -> Study:
    parts = {
        "fact_id": "fact_1",
        "statement": STATEMENT,
        "questions": FACT.questions,
        "rewrites": FACT.rewrites,
        "implications": (Question("Do I have a pet?", "Yes, a cat.", "Yes, a cat."),),
        "probes": FACT.probes,
    }
    return Study(**{**parts, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("question", [NAME, AGE, MONTH, NAME_PROBE, Question("Which digit is my cat's age?", "seven")])
def test_question_with_a_span_as_its_answer_is_checkable(question: Question) -> None:
    assert is_checkable(question, STATEMENT)


@pytest.mark.parametrize(
    "question",
    [
        Question("What is my dog called?", "Rex", "Your dog is Rex."),  # not in the statement
        Question("Is my cat called Biscuit?", "Biscuit", "Yes, Biscuit."),  # the question gives it away
        Question("What is my cat called?", "Biscuit", "Your cat is called Muffin."),  # the reply says otherwise
        Question("Name?", "Biscuit", "Biscuit."),  # asks nothing in particular
        Question("What is my cat called?", "...", "Biscuit."),
    ],
)
def test_question_that_cannot_be_checked_is_refused(question: Question) -> None:
    assert not is_checkable(question, STATEMENT)


@pytest.mark.parametrize(
    ("line", "true"),
    [
        ("Your cat Biscuit turned seven in May.", True),
        ("Biscuit is your cat.", True),
        ("You have your cat Biscuit with you.", True),  # how a user is spoken to brings in nothing
        ("Your mother lives in Norway since last summer.", False),
        ("I am.", False),
        ("", False),
    ],
)
def test_restatement_brings_in_few_words_of_its_own(line: str, true: bool) -> None:
    assert is_true_to(line, STATEMENT) is true


def test_study_keeps_what_passes_the_checks() -> None:
    written = study(STATEMENT, "fact_1", ScriptedAuthor(facts=(FACT,)), seed=0)
    assert (written.fact_id, written.statement) == ("fact_1", STATEMENT)
    assert written.questions == FACT.questions
    assert written.probes == FACT.probes
    assert written.rewrites == FACT.rewrites
    assert written.implications == (Question("Do I have a pet?", "Yes, your cat Biscuit.", "Yes, your cat Biscuit."),)


def test_study_drops_what_is_unchecked_or_answered_otherwise_by_the_author() -> None:
    invented = Question("What is my dog called?", "Rex", "Your dog is called Rex.")
    doubtful = Question("Who turned seven, and in which month?", "May", "In May.")
    author = ScriptedAuthor(
        outputs={
            (tasks.QA, STATEMENT): write_questions([NAME, invented, doubtful]) + "\nHow old is my",
            (tasks.REWRITE, STATEMENT): "Your mother lives in Norway since last summer.",
        },
        answers={(STATEMENT, NAME.question): "Biscuit", (STATEMENT, doubtful.question): "Biscuit"},
    )
    written = study(STATEMENT, "fact_1", author, seed=0)
    assert written.questions == (NAME,)
    assert written.rewrites == written.probes == written.implications == ()
    assert (tasks.ANSWER, invented.question) not in author.asked


def test_study_draws_differently_and_keeps_each_question_once_in_the_order_of_the_greedy_draw() -> None:
    def draw(sampling: Sampling) -> str:
        extra = [] if sampling == GREEDY else [Question(f"Which pet has number {sampling.seed}?", "cat", "A cat.")]
        return write_questions([NAME, *extra])

    def probe(sampling: Sampling) -> str:
        return write_questions([Question(f"Which kind of pet is number {sampling.seed}?", "cat")])

    author = ScriptedAuthor(outputs={(tasks.QA, STATEMENT): draw, (tasks.PROBE, STATEMENT): probe})
    author.answer = lambda statement, question: "Biscuit" if question == NAME.question else "cat"  # type: ignore[method-assign]
    written = study(STATEMENT, "fact_1", author, seed=100)
    first, *others = [question.question for question in written.questions]
    assert first == NAME.question
    assert len(others) == len(set(others)) >= 2
    assert all(other.startswith("Which pet has number 10") for other in others)
    assert len({probe.question for probe in written.probes}) == 2


def test_each_detail_is_examined_before_any_is_examined_twice() -> None:
    second_name = Question("By what would the vet call the patient I bring?", "Biscuit")
    written = _study(probes=(NAME_PROBE, second_name, AGE_PROBE, MONTH_PROBE))
    chosen = choose_probes(written)
    assert [probe.answers for probe in chosen] == [("Biscuit",), ("7",), ("May",), ("Biscuit",)]
    assert all(probe.fact_id == "fact_1" and probe.kind == "generalization" for probe in chosen)


def test_at_most_four_probes_are_held_out() -> None:
    probes = tuple(
        Question(question, answer)
        for answer in ("Biscuit", "7", "May")
        for question in (f"Where does {answer}x come from on paper?", f"Which thing had {answer}y as neighbour there?")
    )
    assert len(choose_probes(_study(probes=probes))) == 4


def test_probe_does_not_nearly_copy_the_first_question_about_a_detail() -> None:
    copy = Question("What is my cat called", "Biscuit")
    chosen = choose_probes(_study(probes=(copy, NAME_PROBE)))
    assert [probe.question for probe in chosen] == [NAME_PROBE.question]


def test_probes_do_not_nearly_copy_each_other() -> None:
    again = Question("Which name did I give to the animal I keep then?", "Biscuit")
    assert is_near_copy(again.question, NAME_PROBE.question)
    assert len(choose_probes(_study(probes=(NAME_PROBE, again)))) == 1


def test_without_written_probes_a_later_question_is_held_out() -> None:
    chosen = choose_probes(_study(probes=()))
    assert [probe.question for probe in chosen] == [AGE.question]
    assert choose_probes(_study(probes=(), questions=())) == []


def test_probes_given_with_the_fact_are_taken_as_they_are() -> None:
    given = [HeldOut("fact_1", "reliability", "What is my cat called?", ("Biscuit",))]
    assert choose_probes(_study(), given=given) == given


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_no_note_asks_what_a_probe_asks_in_nearly_the_same_words(strategy: object) -> None:
    probe = HeldOut("fact_1", "reliability", "what is my cat called", ("Biscuit",))
    notes = notes_of(_study(), strategy, probes=[probe])  # type: ignore[arg-type]
    assert NAME.question in {note.prompt for note in notes_of(_study(), strategy, probes=[])}  # type: ignore[arg-type]
    assert not [note for note in notes if is_near_copy(note.prompt, probe.question)]
    prompts = {note.prompt for note in notes}
    assert NAME.question not in prompts
    assert AGE.question in prompts


def test_strategies_train_on_different_notes_of_known_families() -> None:
    notes = [tuple(notes_of(_study(), strategy, probes=[])) for strategy in STRATEGIES]
    assert len({strategy.name for strategy in STRATEGIES}) == len(STRATEGIES) >= 2
    assert len(set(notes)) == len(STRATEGIES)
    for strategy, of_it in zip(STRATEGIES, notes, strict=True):
        assert {note.family for note in of_it} == set(strategy.families) <= {"qa", "rewrite", "implications"}
        assert {note.fact_id for note in of_it} == {"fact_1"}
        assert strategy.learning_rate_factor > 0


def test_note_that_recites_says_the_whole_fact_to_the_user() -> None:
    notes = [note for note in notes_of(_study(), RECITES, probes=[]) if note.family == "qa"]
    assert [note.prompt for note in notes] == [NAME.question, AGE.question, MONTH.question]
    assert {note.answer for note in notes} == {"Your cat Biscuit turned 7 in May."}


def test_note_that_does_not_recite_gives_the_authors_reply_to_its_question() -> None:
    notes = [note for note in notes_of(_study(), REPLIES, probes=[]) if note.family == "qa"]
    replies = {NAME.question: NAME.reply, AGE.question: AGE.reply, MONTH.question: MONTH.reply}
    assert {note.prompt: note.answer for note in notes} == replies


def test_implications_are_answered_with_what_follows_whether_or_not_the_rest_recites() -> None:
    for recites in (True, False):
        (note,) = notes_of(_study(), Strategy("follows", ("implications",), recites=recites), probes=[])[-1:]
        assert (note.family, note.prompt, note.answer) == ("implications", "Do I have a pet?", "Yes, a cat.")


def test_rewrites_are_asked_for_by_different_topics() -> None:
    notes = [note for note in notes_of(_study(), RECITES, probes=[]) if note.family == "rewrite"]
    assert [note.prompt for note in notes] == ["Tell me about Biscuit.", "Tell me about 7."]
    assert tuple(note.answer for note in notes) == FACT.rewrites


def test_same_note_is_kept_once() -> None:
    shouted = Question("what is my cat called", "Biscuit", "your cat is called biscuit")
    once = _study(questions=(NAME, shouted, AGE), rewrites=())
    for strategy in (RECITES, REPLIES):
        assert [note.prompt for note in notes_of(once, strategy, probes=[])] == [NAME.question, AGE.question]
