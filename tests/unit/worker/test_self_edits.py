"""Self-edits: what the author wrote is checked, probes are held out, and strategies train on different notes."""

from collections.abc import Mapping

import pytest

from engram.similarity import is_near_copy
from tests.fakes.author import KnownFact, Output, ScriptedAuthor
from worker.author import tasks
from worker.author.client import GREEDY, Sampling
from worker.author.tasks import Question, write_questions
from worker.self_edits import (
    STRATEGIES,
    HeldOut,
    Note,
    Strategy,
    Study,
    choose_probes,
    is_checkable,
    notes_of,
    right_replies,
    study,
)

STATEMENT = "My cat Biscuit turned 7 in May."
NAME_REPLY, AGE_REPLY, MONTH_REPLY = "Your cat is called Biscuit.", "Your cat is 7.", "Its birthday is in May."
NAME = Question("What is my cat called?", "Biscuit", NAME_REPLY)
AGE = Question("How old is my pet now?", "7", AGE_REPLY)
MONTH = Question("In which month is the birthday of my cat?", "May", MONTH_REPLY)
NAME_PROBE = Question("Which name did I give to the animal I keep?", "Biscuit", NAME_REPLY)
AGE_PROBE = Question("Tell me the age of the feline in years.", "7", AGE_REPLY)
FACT = KnownFact(
    STATEMENT,
    questions=(NAME, AGE, MONTH),
    probes=(NAME_PROBE, AGE_PROBE),
    rewrites=("Biscuit turned seven, your cat did.", "Biscuit, your cat, turned seven in May."),
    implications=(Question("Do I have a pet?", "Yes, your cat Biscuit."),),
)
GROUPS = ((NAME, NAME_PROBE), (AGE, AGE_PROBE), (MONTH,))
CLOZE = Question("My cat Biscuit turned what in May?", "7", AGE_REPLY)
IMPLIED = Question("Do I have a pet?", "Yes, your cat Biscuit.", "Yes, your cat Biscuit.")


def _study(**changes: object) -> Study:
    parts = {
        "fact_id": "fact_1",
        "statement": STATEMENT,
        "questions": GROUPS,
        "clozes": (CLOZE,),
        "rewrites": FACT.rewrites,
        "implications": (IMPLIED,),
    }
    return Study(**{**parts, **changes})  # type: ignore[arg-type]


def _study_of(author: ScriptedAuthor, *, seed: int = 0) -> Study:
    (written,) = study({"fact_1": STATEMENT}, author, seed=seed)
    return written


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


def _about(statement: str, written: Mapping[str, Output]) -> dict[tuple[str, str], Output]:
    """What an author lists as a statement's details, and writes about each: outputs of a `ScriptedAuthor`."""
    asked = {(tasks.QA, tasks.ask_questions(statement, detail)): output for detail, output in written.items()}
    return {(tasks.DETAILS, statement): "\n".join(written), **asked}


def test_study_keeps_what_passes_the_checks_grouped_by_detail() -> None:
    written = _study_of(ScriptedAuthor(facts=(FACT,)))
    assert (written.fact_id, written.statement) == ("fact_1", STATEMENT)
    assert written.questions == GROUPS
    assert [(each.question, each.reply) for each in written.clozes] == [
        ("My cat what turned 7 in May?", NAME_REPLY),
        (CLOZE.question, AGE_REPLY),
        ("My cat Biscuit turned 7 in what?", MONTH_REPLY),
    ]
    assert written.rewrites == FACT.rewrites
    assert written.implications == (IMPLIED,)


def test_facts_studied_together_are_studied_as_each_alone() -> None:
    other = KnownFact("I live in Bergen.", (Question("Where do I live?", "Bergen", "You live in Bergen."),), ())
    author = ScriptedAuthor(facts=(FACT, other))
    together = study({"fact_1": STATEMENT, "fact_2": other.statement}, author, seed=0)
    assert together[0] == _study_of(author)
    assert [(one.fact_id, one.statement) for one in together] == [("fact_1", STATEMENT), ("fact_2", other.statement)]
    assert together[1].questions == (other.questions,)


def test_study_drops_what_is_unchecked_or_answered_otherwise_by_the_author() -> None:
    doubtful, gives_away = "Who turned seven, and in which month?", "Is Biscuit my cat?"
    author = ScriptedAuthor(
        outputs={
            (tasks.DETAILS, STATEMENT): "Biscuit\nRex",
            (tasks.QA, tasks.ask_questions(STATEMENT, "Biscuit")): write_questions(
                NAME_REPLY, [NAME.question, gives_away, doubtful]
            ),
            (tasks.QA, tasks.ask_questions(STATEMENT, "7")): write_questions("Your cat is 8.", [AGE.question]),
            (tasks.QA, tasks.ask_questions(STATEMENT, "May")): "",
            (tasks.REWRITE, STATEMENT): "Your mother lives in Norway since last summer.",
            (tasks.IMPLY, STATEMENT): "Do I have a pet? | Yes, Rex.",
        },
        answers={(STATEMENT, NAME.question): "Biscuit", (STATEMENT, doubtful): "May"},
    )
    written = _study_of(author)
    assert written.questions == ((NAME,),)
    assert written.rewrites == written.implications == ()
    assert gives_away not in {asked for _, asked in author.asked}
    assert (tasks.QA, tasks.ask_questions(STATEMENT, "Rex")) not in author.asked


def test_names_and_numbers_that_the_author_does_not_list_are_asked_about_too() -> None:
    author = ScriptedAuthor(facts=(FACT,), outputs={(tasks.DETAILS, STATEMENT): "7"})
    assert [group[0].answer for group in _study_of(author).questions] == ["7", "Biscuit", "May"]


def test_study_draws_differently_and_keeps_each_question_once_in_the_order_of_the_greedy_draw() -> None:
    def draw(sampling: Sampling) -> str:
        extra = [] if sampling == GREEDY else [f"Which pet was drawn{' again' * (sampling.seed - 99)}?"]
        return write_questions(NAME_REPLY, [NAME.question, *extra])

    author = ScriptedAuthor(
        outputs=_about(STATEMENT, {"Biscuit": draw, "7": "", "May": ""}),
    )
    author.answer = lambda statement, question: "Biscuit"  # type: ignore[method-assign]
    ((first, *others),) = _study_of(author, seed=100).questions
    assert first == NAME
    assert len(others) == len({other.question for other in others}) >= 2
    assert all(other.question.startswith("Which pet was drawn again") for other in others)


def test_only_a_fact_with_few_questions_is_written_about_once_more() -> None:
    home = "I live in Bergen."
    drawn: dict[str, list[Sampling]] = {STATEMENT: [], home: []}

    def many(sampling: Sampling) -> str:
        drawn[STATEMENT].append(sampling)
        return write_questions(NAME_REPLY, [f"Which pet has the letter {letter}?" for letter in "bcdefg"])

    def few(sampling: Sampling) -> str:
        drawn[home].append(sampling)
        return write_questions("You live in Bergen.", [f"Where do I live, asked {'again ' * len(drawn[home])}?"])

    author = ScriptedAuthor(
        outputs=_about(STATEMENT, {"Biscuit": many, "7": "", "May": ""}) | _about(home, {"Bergen": few}),
    )
    author.answer = lambda statement, question: "Biscuit" if "pet" in question else "Bergen"  # type: ignore[method-assign]
    pets, homes = study({"fact_1": STATEMENT, "fact_2": home}, author, seed=0)
    assert (len(pets.questions[0]), len(drawn[STATEMENT])) == (6, 3)
    assert len(homes.questions[0]) == len(drawn[home]) == len(set(drawn[home])) == 6


def test_one_question_about_each_detail_that_has_several_is_held_out() -> None:
    chosen = choose_probes(_study())
    assert [(probe.question, probe.answers) for probe in chosen] == [
        (NAME_PROBE.question, ("Biscuit",)),
        (AGE_PROBE.question, ("7",)),
    ]
    assert all(probe.fact_id == "fact_1" and probe.kind == "generalization" for probe in chosen)


def test_probe_is_the_likeliest_question_that_does_not_nearly_copy_the_first() -> None:
    copy = Question("What is my cat called", "Biscuit", NAME_REPLY)
    later = Question("By which name does it come?", "Biscuit", NAME_REPLY)
    (chosen,) = choose_probes(_study(questions=((NAME, copy, NAME_PROBE, later),)))
    assert chosen.question == NAME_PROBE.question


def test_of_several_questions_the_one_in_the_statements_words_is_held_out() -> None:
    strange = Question("Which label is on the mailbox of the feline?", "Biscuit", NAME_REPLY)
    near = Question("My cat that turned seven has which name?", "Biscuit", NAME_REPLY)
    (chosen,) = choose_probes(_study(questions=((NAME, strange, near),)))
    assert chosen.question == near.question


def test_at_most_four_probes_are_held_out() -> None:
    groups = tuple(
        (Question(f"Where is {n}?", f"{n}x"), Question(f"Which place has the {n}?", f"{n}x")) for n in "abcdef"
    )
    assert len(choose_probes(_study(questions=groups))) == 4


def test_without_a_second_question_about_anything_nothing_is_held_out() -> None:
    assert choose_probes(_study(questions=((NAME,), (AGE,)))) == []
    assert choose_probes(_study(questions=())) == []


def test_probes_given_with_the_fact_are_taken_as_they_are() -> None:
    given = [HeldOut("fact_1", "reliability", "What is my cat called?", ("Biscuit",))]
    assert choose_probes(_study(), given=given) == given


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda strategy: strategy.name)
def test_no_note_asks_what_a_probe_asks_in_nearly_the_same_words(strategy: Strategy) -> None:
    probe = HeldOut("fact_1", "reliability", "what is my cat called", ("Biscuit",))
    notes = notes_of(_study(), strategy, probes=[probe])
    assert NAME.question in {note.prompt for note in notes_of(_study(), strategy, probes=[])}
    assert not [note for note in notes if is_near_copy(note.prompt, probe.question)]
    prompts = {note.prompt for note in notes}
    assert NAME.question not in prompts
    assert AGE.question in prompts


def test_strategies_train_on_different_notes_of_known_families() -> None:
    notes = [tuple(notes_of(_study(), strategy, probes=[])) for strategy in STRATEGIES]
    assert len({strategy.name for strategy in STRATEGIES}) == len(STRATEGIES) >= 3
    assert len(set(notes)) == len(STRATEGIES)
    for strategy, of_it in zip(STRATEGIES, notes, strict=True):
        assert {note.family for note in of_it} == set(strategy.families) <= {"qa", "cloze", "rewrite", "implications"}
        assert {note.fact_id for note in of_it} == {"fact_1"}
        assert strategy.learning_rate_factor > 0


def test_of_many_questions_the_first_of_each_detail_become_notes() -> None:
    many = tuple(
        Question(f"Which pet has the letter {letter}?", "Biscuit", NAME_REPLY) for letter in "bcdefghijklmnopqrs"
    )
    notes = notes_of(_study(questions=(many, (AGE,), (MONTH,))), Strategy("asks", ("qa",)), probes=[])
    assert len(notes) == 18
    assert [note.prompt for note in notes[:3]] == [many[0].question, AGE.question, MONTH.question]
    assert many[15].question == notes[-1].prompt


def test_question_is_answered_with_the_authors_reply_about_its_detail() -> None:
    notes = notes_of(_study(), Strategy("asks", ("qa",)), probes=choose_probes(_study()))
    assert {note.prompt: note.answer for note in notes} == {
        NAME.question: NAME_REPLY,
        AGE.question: AGE_REPLY,
        MONTH.question: MONTH_REPLY,
    }


def test_implications_are_answered_with_what_follows() -> None:
    (note,) = notes_of(_study(), Strategy("follows", ("qa", "implications")), probes=[])[-1:]
    assert (note.family, note.prompt, note.answer) == ("implications", IMPLIED.question, IMPLIED.answer)


def test_rewrites_are_asked_for_by_different_topics() -> None:
    notes = notes_of(_study(), Strategy("restates", ("qa", "rewrite")), probes=[])
    restated = [note for note in notes if note.family == "rewrite"]
    assert [note.prompt for note in restated] == ["Tell me about Biscuit.", "Tell me about 7."]
    assert tuple(note.answer for note in restated) == FACT.rewrites


def test_same_note_is_kept_once() -> None:
    shouted = Question("what is my cat called", "Biscuit", "your cat is called biscuit")
    once = _study(questions=((NAME, shouted), (AGE,)))
    prompts = [note.prompt for note in notes_of(once, Strategy("asks", ("qa",)), probes=[])]
    assert prompts == [NAME.question, AGE.question]


def test_right_reply_to_a_probe_is_what_the_notes_reply_that_says_the_answer() -> None:
    notes = [
        Note("fact_1", "implications", "Do I have a pet?", "Yes, Biscuit."),
        Note("fact_1", "qa", NAME.question, NAME_REPLY),
        Note("fact_2", "qa", "Who is Biscuit?", "Biscuit."),
    ]
    named = HeldOut("fact_1", "generalization", NAME_PROBE.question, ("Biscuit",))
    aged = HeldOut("fact_1", "generalization", AGE_PROBE.question, ("7", "seven"))
    assert right_replies([named, aged], notes) == {NAME_PROBE.question: NAME_REPLY, AGE_PROBE.question: "7"}


def test_question_whose_reply_misses_the_detail_takes_another_reply_or_the_statement() -> None:
    cheese = "Taleggio is the cheese that I like best."
    which, what = "Which cheese do I like best?", "What's my favourite cheese?"

    def replies(*said: str) -> set[str]:
        drawn = iter(said)
        outputs = {
            (tasks.DETAILS, cheese): "Taleggio",
            (tasks.QA, tasks.ask_questions(cheese, "Taleggio")): lambda _: write_questions(
                next(drawn, NAME_REPLY), [which, what]
            ),
        }
        author = ScriptedAuthor(outputs, {(cheese, which): "Taleggio", (cheese, what): "Taleggio"})
        (written,) = study({"fact_1": cheese}, author, seed=0)
        return {question.reply for question in written.questions[0]}

    assert replies("You like the cheese.", "Your cheese is Taleggio.", "Cheese.") == {"Your cheese is Taleggio."}
    assert replies("You like the cheese.", "You like it.", "Yes.") == {"Taleggio is the cheese that you like best."}
