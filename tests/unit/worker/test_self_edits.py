"""Self-edits: probes are held out, and strategies train on different notes."""

import pytest

from engram.similarity import is_near_copy
from tests.unit.worker.biscuit import (
    AGE,
    AGE_PROBE,
    AGE_REPLY,
    CLOZE,
    FACT,
    GROUPS,
    IMPLIED,
    MONTH,
    MONTH_REPLY,
    NAME,
    NAME_PROBE,
    NAME_REPLY,
    STATEMENT,
)
from worker.author.tasks import Question
from worker.self_edits import (
    STRATEGIES,
    HeldOut,
    Note,
    Strategy,
    choose_probes,
    notes_of,
    right_replies,
    studied,
    wordings_of,
)
from worker.study import Study


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


def test_one_question_about_each_detail_that_has_several_is_held_out() -> None:
    chosen = choose_probes(_study())
    assert [(probe.question, probe.answers) for probe in chosen] == [
        (NAME_PROBE.question, ("Biscuit",)),
        (AGE_PROBE.question, ("7",)),
    ]
    assert all(probe.fact_id == "fact_1" and probe.kind == "generalization" for probe in chosen)


@pytest.mark.parametrize(
    ("replaced", "probes"),
    [
        (["My cat Biscuit turned 6 in May."], [AGE_PROBE]),
        (["It is 7."], [NAME_PROBE]),
        (["Biscuit is 7."], [NAME_PROBE, AGE_PROBE]),  # there is nothing else to ask
        (["I have no pets."], [NAME_PROBE, AGE_PROBE]),
    ],
)
def test_what_the_replaced_statement_says_too_is_no_probe(replaced: list[str], probes: list[Question]) -> None:
    chosen = choose_probes(_study(), replaced=replaced)
    assert [probe.question for probe in chosen] == [probe.question for probe in probes]


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


def test_of_a_single_detail_with_many_questions_two_are_held_out_that_do_not_copy_each_other() -> None:
    texts = ("What is it called?", "Which name has it?", "How do I call it?", "Its name is what?", "Who is it?")
    first, *others = (Question(text, "Biscuit", NAME_REPLY) for text in texts)
    copy = Question("My cat turned seven, which name has it?", "Biscuit", NAME_REPLY)
    chosen = choose_probes(_study(questions=((first, copy, *others),)))
    assert len(chosen) == 2
    assert first.question not in [probe.question for probe in chosen]
    assert not is_near_copy(chosen[0].question, chosen[1].question)
    assert len(choose_probes(_study(questions=((first, *others[:3]),)))) == 1  # too few are left to learn from
    copied = Question(texts[2].rstrip("?").lower(), "Biscuit", NAME_REPLY)
    assert len(choose_probes(_study(questions=((first, *others[:3], copied),)))) == 1  # a probe's copy is no note
    assert len(choose_probes(_study(questions=((first, copy, *others), (AGE, AGE_PROBE))))) == 2


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


def test_all_else_that_was_asked_is_a_wording_and_not_studied_but_no_near_copy_of_a_probe() -> None:
    many = tuple(Question(f"Which pet has the letter {one}?", "Biscuit", NAME_REPLY) for one in "bcdefghijklmnopqrstuv")
    unread, near = Question("Which one purrs?", "Biscuit", NAME_REPLY), Question("Who purrs?", "Biscuit", NAME_REPLY)
    written = _study(questions=(many,), wordings=(unread, near))
    probe = HeldOut("fact_1", "generalization", "who purrs", ("Biscuit",))
    notes = notes_of(written, STRATEGIES[0], probes=[probe])
    wordings = wordings_of(written, notes, probes=[probe])
    assert [note.prompt for note in wordings] == [*(one.question for one in many[18:]), unread.question]
    assert {(note.fact_id, note.answer) for note in wordings} == {("fact_1", NAME_REPLY)}
    assert studied([*notes, *wordings]) == notes


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


def test_where_few_questions_have_one_reply_unanswered_ones_are_studied_too() -> None:
    wordings = tuple(Question(f"What do I call my cat in case {n}?", "Biscuit", NAME.reply) for n in range(20))
    elsewhere = Question("Who sings at night?", "Biscuit", "Nobody studied this reply.")
    written = _study(wordings=(*wordings, elsewhere), implications=())
    notes = notes_of(written, Strategy("asks", ("qa",)), probes=[])
    asked = [note.prompt for note in notes if note.answer == NAME.reply]
    assert len(asked) == 12
    assert elsewhere.question not in [note.prompt for note in notes]
    assert {each.question for each in wordings} - set(asked) <= {
        n.prompt for n in wordings_of(written, notes, probes=[])
    }
