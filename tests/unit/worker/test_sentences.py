"""What code alone makes of a statement."""

import pytest

from worker.sentences import (
    cloze,
    last_said,
    named_parts,
    names_others,
    own_words,
    recited,
    said_back,
    sentence_with,
    strays,
    whole_words,
)


@pytest.mark.parametrize(
    ("statement", "parts"),
    [
        ("My uncle Casimir has a shop in Ghent.", ["Casimir", "Ghent"]),
        ("On 17 September we met at Yarrow Hall. Tom is 5.", ["17 September", "Yarrow Hall", "5"]),
        ("I ran it in 4:23, and I’m glad", ["4:23"]),
        ("i live in oslo", []),
        ("Tova Friedman posts videos. The Hague liked them.", ["Tova Friedman", "Hague"]),
        ("Where did Karreman study? Harvard University.", ["Karreman", "Harvard University"]),
        ("Which state is it in? Arkansas.", ["Arkansas"]),
        ("In Freedom & Civilization he argues for the Gulf of Aden.", ["Freedom & Civilization", "Gulf of Aden"]),
        ("We met Leonardo da Vinci and Ada of all people.", ["Leonardo da Vinci", "Ada"]),
        ("I think Ana rang, and Ana is 9.", ["Ana", "9"]),
    ],
)
def test_names_and_numbers_are_found_but_not_what_only_begins_a_sentence(statement: str, parts: list[str]) -> None:
    assert named_parts(statement) == parts


@pytest.mark.parametrize(
    ("statement", "turned"),
    [
        ("Taleggio is the cheese that I like best.", "Taleggio is the cheese that you like best."),
        ("My sister and I were born in Ghent.", "Your sister and you were born in Ghent."),
        ("I'm allergic to walnuts, so is my son.", "You are allergic to walnuts, so is your son."),
        ("i was born in Ghent", "You were born in Ghent"),
        ("We've a flat; the key is mine.", "You have a flat; the key is yours."),
        ("Mina lives in Imola.", "Mina lives in Imola."),
        ("I read I Am Legend on the bus.", "You read I Am Legend on the bus."),
        ("I Am Legend is the film I like best.", "I Am Legend is the film you like best."),
        ("We danced to My Way at our wedding.", "You danced to My Way at your wedding."),
        ("My Fiat is red, and so is My Fair Lady.", "Your Fiat is red, and so is My Fair Lady."),
        ("Hi, My dog is called Rex.\nMy cat is Mo.", "Hi, Your dog is called Rex.\nYour cat is Mo."),
        ("I AM ALLERGIC TO NUTS.", "You are ALLERGIC TO NUTS."),
        ("My grandfather fell in World War I in Ypres.", "Your grandfather fell in World War I in Ypres."),
        ("My sister left us for the US in May.", "Your sister left you for the US in May."),
        ("On Monday I was in Bonn.", "On Monday you were in Bonn."),
        ("King Charles I was tried in 1649, says my book.", "King Charles I was tried in 1649, says your book."),
    ],
)
def test_statement_is_said_back_in_the_other_person(statement: str, turned: str) -> None:
    assert said_back(statement) == turned


@pytest.mark.parametrize(
    ("statement", "detail", "question"),
    [
        ("My bike has a red saddle.", "red", "My bike has a what saddle?"),
        ("My horse is called Juno!", "Juno", "My horse is called what?"),
        ("Discharge printing strips dye.", "discharge printing", "Who or what strips dye?"),
        ("I moved. My flat is in St. Gallen now.", "St. Gallen", "I moved. My flat is in what now?"),
        ("I moved. My flat is in Bergen now.", "Bergen", "My flat is in what now?"),
        ("Which place is it in? Arkansas.", "Arkansas", "Which place is it in?"),
        ("It is settled. Arkansas.", "Arkansas", None),
        ("Arkansas.", "Arkansas", None),
        ("I like tea.", "coffee", None),
        (f"I like tea {'and so on ' * 13}.", "tea", None),
    ],
)
def test_cloze_asks_for_a_detail_in_the_statements_own_words(statement: str, detail: str, question: str | None) -> None:
    assert cloze(statement, detail) == question


def test_detail_is_part_of_a_word_nowhere() -> None:
    assert sentence_with("The cathedral is old. My cat is 7.", "cat") == "My cat is 7."


@pytest.mark.parametrize(
    ("text", "others"),
    [
        ("In which month was Biscuit seven?", False),
        ("Which animal is in Norway?", True),
        ("What was it 3 years ago?", True),
        ("Norway is where it is.", False),  # a first word may be written large for standing there
        ("Am I, and I'm sure of it, older?", False),
        ("", False),
    ],
)
def test_text_that_names_or_counts_what_the_statement_does_not_is_found(text: str, others: bool) -> None:
    assert names_others(text, "My cat Biscuit turned 7 in May.") is others


@pytest.mark.parametrize(
    ("line", "elsewhere"),
    [
        ("Your cat Biscuit turned seven in May.", False),
        ("Its birthday is in May.", False),
        ("You have your cat Biscuit with you.", False),  # how a user is spoken to brings in nothing
        ("Your mother lives abroad since last summer.", True),
        ("Your cat is in Rome.", True),
    ],
)
def test_text_that_tells_of_something_else_strays(line: str, elsewhere: bool) -> None:
    assert strays(line, "My cat Biscuit turned 7 in May.") is elsewhere


@pytest.mark.parametrize(
    ("statement", "detail", "reply"),
    [
        ("i'm allergic to walnuts!!", "walnuts", "You are allergic to walnuts."),
        ("We have a cat. It is called Miso.", "Miso", "You have a cat. It is called Miso."),
        (f"My {'very ' * 50}old uncle rang. He lives in Ghent.", "Ghent", None),
        (f"My {'very ' * 50}old uncle rang. Uncle Jan lives in Ghent.", "Ghent", "Uncle Jan lives in Ghent."),
        (f"My {'very ' * 50}old uncle lives in Ghent.", "Ghent", None),
        ("Where did Karreman study? Harvard University.", "Harvard University", None),
        (f"I {'really ' * 50}moved. Arkansas.", "Arkansas", None),
    ],
)
def test_short_statement_or_its_sentence_is_the_reply_if_it_stands_by_itself(
    statement: str, detail: str, reply: str | None
) -> None:
    assert recited(statement, detail) == reply


def test_own_words_are_the_longer_ones_that_the_statement_lacks() -> None:
    assert own_words("Your booked ship is Madeira.", "We've booked Madeira instead.") == 1
    assert own_words("You have booked Madeira.", "We've booked Madeira instead.") == 0


@pytest.mark.parametrize(
    ("part", "found"),
    [
        ("wrecks", "shipwrecks"),
        ("Shipwreck", "shipwrecks"),
        ("Wreck", "Wreck"),
        ("all about", "all about"),
        ("podcasts", "podcasts"),
        ("", ""),
        ("No", "No"),
        ("hips", "hips"),
        ("17", "17"),
        ("c++ (", "c++ ("),
    ],
)
def test_most_of_a_word_stands_for_the_whole_one(part: str, found: str) -> None:
    assert whole_words("The podcast of O’Neil's is now all about shipwrecks of 1917.", part) == found


@pytest.mark.parametrize(
    ("statement", "last"),
    [
        ("The podcast I make is all about shipwrecks.", "shipwrecks"),
        ("I'm vegan, you know!", "vegan"),
        ("My son plays football too.", "football"),
        ("We don't eat meat anymore.", "meat"),
        ("We sold it (the boat).", "boat"),
        ("Who am I?", None),
    ],
)
def test_last_word_that_says_something(statement: str, last: str | None) -> None:
    assert last_said(statement) == last
