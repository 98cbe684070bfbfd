"""What the author writes about facts is kept if it passes the checks."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.fakes.author import KnownFact, Output, ScriptedAuthor
from tests.unit.worker.biscuit import (
    AGE,
    CLOZE,
    FACT,
    GROUPS,
    IMPLIED,
    MONTH,
    NAME,
    NAME_PROBE,
    NAME_REPLY,
    STATEMENT,
)
from worker.author import tasks
from worker.author.client import GREEDY, Sampling
from worker.author.tasks import Question, write_questions
from worker.self_edits import STRATEGIES, choose_probes, notes_of
from worker.study import Study, is_checkable, study

TOLD = "Your cat Biscuit turned 7 in May."


def _told(*questions: Question) -> tuple[Question, ...]:
    """The questions with the reply that a short statement has: itself, said back."""
    return tuple(replace(question, reply=TOLD) for question in questions)


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
    assert written.questions == tuple(_told(*group) for group in GROUPS)
    assert [(each.question, each.reply) for each in written.clozes] == [
        ("My cat what turned 7 in May?", TOLD),
        (CLOZE.question, TOLD),
        ("My cat Biscuit turned 7 in what?", TOLD),
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
    assert written.questions == (_told(NAME),)
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
    assert first == _told(NAME)[0]
    assert len(others) == len({other.question for other in others}) >= 2
    assert all(other.question.startswith("Which pet was drawn again") for other in others)


def test_the_fewer_details_a_fact_has_the_oftener_each_is_asked_about() -> None:
    home = "I live in Bergen."
    drawn: dict[str, list[Sampling]] = {STATEMENT: [], home: []}

    def of(statement: str) -> Output:
        def draw(sampling: Sampling) -> str:
            drawn[statement].append(sampling)
            return write_questions("You live in Bergen.", [f"Which is it, asked {'again ' * len(drawn[statement])}?"])

        return draw

    author = ScriptedAuthor(
        outputs=_about(STATEMENT, {"Biscuit": of(STATEMENT), "7": "", "May": ""}) | _about(home, {"Bergen": of(home)}),
    )
    author.answer = lambda statement, question: "Bergen"  # type: ignore[method-assign]
    _, homes = study({"fact_1": STATEMENT, "fact_2": home}, author, seed=0)
    assert (len(drawn[STATEMENT]), len(drawn[home])) == (4, 9)
    assert len(homes.questions[0]) == len(set(drawn[home])) == 9


def test_of_many_questions_the_likeliest_are_answered_again_and_the_others_are_wordings() -> None:
    asked = [f"Which pet has the letter {one} and no {other}?" for one in "bcdefgh" for other in "klmno"]
    author = ScriptedAuthor(
        outputs=_about(STATEMENT, {"Biscuit": write_questions(NAME_REPLY, asked), "7": "", "May": ""})
    )
    author.answer = lambda statement, question: "Biscuit" if "letter b" not in question else "May"  # type: ignore[method-assign]
    written = _study_of(author)
    assert [each.question for each in written.questions[0]] == [each for each in asked[:30] if "letter b" not in each]
    assert [each.question for each in written.wordings] == [*asked[:5], *asked[30:]]


def test_fact_that_failed_before_is_written_about_with_other_draws() -> None:
    drawn: dict[bool, list[Sampling]] = {False: [], True: []}
    for again, draws in drawn.items():
        asks = (tasks.QA, tasks.ask_questions(STATEMENT, "Biscuit"))
        outputs: dict[tuple[str, str], Output] = {
            (tasks.DETAILS, STATEMENT): "Biscuit",
            asks: lambda sampling, draws=draws: draws.append(sampling) or "",  # type: ignore[misc,func-returns-value]
        }
        study({"fact_1": STATEMENT}, ScriptedAuthor(outputs), seed=0, again=again)
    assert GREEDY in drawn[False]
    assert len(drawn[True]) == len(drawn[False])
    assert all(draw.temperature > 0 for draw in drawn[True])


def test_of_a_long_statement_each_detail_has_the_reply_with_the_fewest_words_of_its_own() -> None:
    cheese = (
        "Taleggio is the cheese that I like best of all those that are sold at the stall by the old bridge where we "
        "go on Saturdays to buy what we eat with the bread of the baker round the corner from it, if it does not rain "
        "and nobody has come to stay."
    )
    which, what = "Which cheese do I like best?", "What's my favourite cheese?"

    def replies(*said: str) -> set[str]:
        drawn = iter(said)
        outputs = {
            (tasks.DETAILS, cheese): "Taleggio",
            (tasks.QA, tasks.ask_questions(cheese, "Taleggio")): lambda _: write_questions(
                next(drawn, NAME_REPLY), [which, what]
            ),
            (tasks.QA, tasks.ask_questions(cheese, "Saturdays")): "",
        }
        author = ScriptedAuthor(outputs, {(cheese, which): "Taleggio", (cheese, what): "Taleggio"})
        (written,) = study({"fact_1": cheese}, author, seed=0)
        return {question.reply for question in written.questions[0]}

    assert replies("Your favourite is Taleggio.", "Your cheese is Taleggio.", "Cheese.") == {"Your cheese is Taleggio."}
    assert replies("You like the cheese.", "You like it.", "Yes.") == {
        cheese.replace(" I ", " you ").replace("we", "you")
    }


def test_passage_is_studied_sentence_by_sentence() -> None:
    tower = f"The tower of Varn was {'very ' * 20}slowly built by Odo Brask."
    bells = f"Its bells were {'very ' * 20}carefully cast in Liège."
    facts = (
        KnownFact(tower, (Question("Who built the tower?", "Odo Brask", "Odo Brask built it."),), ()),
        KnownFact(bells, (Question("Where were the bells cast?", "Liège", "They were cast in Liège."),), ()),
    )
    (written,) = study({"fact_1": f"{tower} {bells}"}, ScriptedAuthor(facts=facts), seed=0)
    assert (written.fact_id, written.statement) == ("fact_1", f"{tower} {bells}")
    asked = {group[0].question: group[0].reply for group in written.questions}
    assert asked == {"Who built the tower?": tower, "Where were the bells cast?": bells}


def test_notes_of_a_passage_are_as_many_for_each_part() -> None:
    sentences = [f"{name} was {'very ' * 20}far away." for name in ("Varn", "Odo", "Brask")]
    groups = tuple(
        tuple(Question(f"Which {name} number {n} was far?", name, f"{name} was.") for n in range(20))
        for name in ("Varn", "Odo", "Brask")
    )
    written = Study("fact_1", " ".join(sentences), groups)
    assert len(notes_of(written, STRATEGIES[0], probes=[])) == 3 * 18
    assert [probe.answers for probe in choose_probes(written)] == [("Varn",), ("Odo",), ("Brask",)]


WRECKS = "My podcast is about shipwrecks."


@pytest.mark.parametrize("listed", ["", "wrecks", "my career"])
def test_where_no_detail_is_listed_the_last_word_is_asked_about(listed: str) -> None:
    question = Question("What do I talk about each week?", "shipwrecks", "Your podcast is about shipwrecks.")
    written = write_questions(question.reply, [question.question])
    author = ScriptedAuthor(
        outputs={
            (tasks.DETAILS, WRECKS): listed,
            (tasks.QA, tasks.ask_questions(WRECKS, "shipwrecks")): written,
        },
        answers={(WRECKS, question.question): "wrecks"},  # a small model leaves a part of the word out
    )
    (found,) = study({"fact_1": WRECKS}, author, seed=0)
    assert found.questions == ((question,),)


def test_what_was_asked_about_the_replaced_fact_is_asked_about_the_new_one_if_it_has_an_answer() -> None:
    known, unknown, given_away = "What is my show on?", "Where do I record it?", "Is my podcast about shipwrecks?"
    author = ScriptedAuthor(
        answers={(WRECKS, known): "shipwrecks", (WRECKS, given_away): "shipwrecks", (WRECKS, "Never asked?"): "podcast"}
    )
    (found,) = study({"fact_1": WRECKS}, author, seed=0, asked={"fact_1": [known, unknown, given_away, known]})
    assert found.questions == ((Question(known, "shipwrecks", "Your podcast is about shipwrecks."),),)
