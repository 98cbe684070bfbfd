"""What code alone can tell of a statement: its names, itself said back to the user, and clozes. Pure: no I/O."""

import re

from engram.grading import is_right, normalise
from engram.similarity import content_words
from engram.statements import is_question

_MAX_CLOZE_WORDS = 40
_MAX_RECITED_WORDS = 48
_ADDRESS = {"your", "yours", "have", "that", "with"}
_MARKS = ".,;:!?"
_BETWEEN_SENTENCES = re.compile(r"(?<=[.!?])\s+")

_NAME = r"[A-Z][\w'’-]*"
_WITHIN_NAMES = r"(?:of(?: the)?|&|de(?: la)?|del|di|da|du|von|van(?: der)?)"
_NAMED = re.compile(
    rf"\b(?:{_NAME}|\d[\w:.,/]*\w|\d)(?: (?:{_WITHIN_NAMES} )?{_NAME}| \d\w*)*"  # *17 September*, *Gulf of Aden*
)
_I = re.compile(r"I(?:['’]\w+)?")
# Where a word is written large for its place: *Hi, My dog*, a new line, after a colon.
_MAY_BEGIN = re.compile(r"(?:^|[.!?:;,\n(–—-])[\s\"“”’)]*$")
_LOOKS_BACK = re.compile(r"(?:it|he|she|they|this|that|these|those|his|her|its|their)\b", re.IGNORECASE)
_SENTENCE_END = re.compile(r"[.!?][\"”’)]*\s*$")
_OPENERS = set(
    "the a an my our your his her its their this that these those it he she we they you there in on at for from with "
    "by to of as about near and but so or if when while where who whose what which how why after before since until "
    "during yes no not last next every each all some most both also then now just today yesterday tomorrow".split()
)
_LEAST_OF_A_WORD = 4
_FILLERS = set(
    "there here too also instead anymore more any again already yet still soon now then today tomorrow yesterday "
    "lately recently though anyway however well very much really just only ever never always days time this that it "
    "one".split()
)
_OTHER_PERSON = {
    **dict.fromkeys(("i", "me", "we", "us"), "you"),
    **dict.fromkeys(("my", "our"), "your"),
    **dict.fromkeys(("mine", "ours"), "yours"),
    **dict.fromkeys(("myself", "ourselves"), "yourself"),
    **dict.fromkeys(("i am", "i'm", "i’m", "we're", "we’re"), "you are"),
    "i was": "you were",
    **dict.fromkeys(("i've", "i’ve", "we've", "we’ve"), "you have"),
    **dict.fromkeys(("i'd", "i’d", "we'd", "we’d"), "you'd"),
    **dict.fromkeys(("i'll", "i’ll", "we'll", "we’ll"), "you will"),
}
# *World War I was long*, *King Charles I*: a number.
_NUMBERED = re.compile(
    r"\b(?:War|Part|Phase|Type|Class|Chapter|Act|Volume|Stage|(?:King|Queen|Pope|Emperor|Empress|Tsar|Sultan) \w+) $"
)
_FIRST_PERSON = re.compile(
    r"\b(" + "|".join(sorted(map(re.escape, _OTHER_PERSON), key=len, reverse=True)) + r")\b", re.IGNORECASE
)


def named_parts(statement: str) -> list[str]:
    """Names and numbers of a statement, each once: what a fact is most surely asked for.

    A word that may only be written large because it begins a sentence is no name, unless it is all of it.
    """
    parts = (_without_opener(match) for match in _NAMED.finditer(statement))
    return list(dict.fromkeys(part for part in parts if part and not _I.fullmatch(part)))


def whole_words(statement: str, part: str) -> str:
    """The word of a statement of which this is the most part: of *wrecks* it is *shipwrecks*. All else is left as it
    is, *No* of *now* too."""
    if is_right(statement, [part]) or not part.isalpha() or len(part) < _LEAST_OF_A_WORD:
        return part
    words = (found[0] for found in re.finditer(rf"\w*{part}\w*", statement, re.IGNORECASE))
    return next((word for word in words if len(part) > len(word) / 2), part)


def last_said(statement: str) -> str | None:
    """The last word that says what a statement is about: what is new mostly comes last."""
    words = re.findall(r"\w[\w'’-]*", statement)[::-1]
    return next((word for word in words if content_words(word) and word.lower() not in _FILLERS), None)


def _without_opener(match: re.Match[str]) -> str:
    before, after = match.string[: match.start()], match.string[match.end() :]
    if before and not _SENTENCE_END.search(before):
        return match[0]
    first, _, others = match[0].partition(" ")
    if first.lower() in _OPENERS or _I.fullmatch(first):
        return others
    is_name = others or first[0].isdigit() or not after.strip(" .!?")
    return match[0] if is_name else ""


def said_back(statement: str) -> str:
    """A user's statement as it is said to the user: *My son likes me.* becomes *Your son likes you.*"""

    def other_person(match: re.Match[str]) -> str:
        word = match[0]
        if _is_of_a_name(match):
            return word
        other = _OTHER_PERSON[word.lower()]
        return other.capitalize() if word[0].isupper() and not _I.fullmatch(word.split()[0]) else other

    turned = _FIRST_PERSON.sub(other_person, statement)
    return turned[:1].upper() + turned[1:]


def _is_of_a_name(match: re.Match[str]) -> bool:
    """Whether what looks like a first person is (part of) a name: *I Am Legend*, *My Way*, *World War I*, *the US*."""
    first, _, second = match[0].partition(" ")
    before, after = match.string[: match.start()], match.string[match.end() :]
    if first == "US" or (first == "I" and _NUMBERED.search(before)):
        return True
    if second:
        return second.istitle()
    if _MAY_BEGIN.search(before):
        return False
    if _I.fullmatch(first):
        return first == "I" and after.lstrip().partition(" ")[0].istitle()
    return first.istitle()


def recited(statement: str, detail: str) -> str | None:
    """What answers any question about a detail in the user's own words: the statement said back, or if that is long
    the sentence of it that holds the detail.

    None where that is long too, asks something, says nothing but the detail, or looks back to the sentence before it.
    """

    def answers(told: str) -> bool:
        is_short = len(told.split()) <= _MAX_RECITED_WORDS
        return is_short and "?" not in statement and bool(content_words(told) - content_words(detail))

    if answers(statement):
        return _ended(said_back(statement))
    sentence = sentence_with(statement, detail)
    return _ended(said_back(sentence)) if answers(sentence) and not _LOOKS_BACK.match(sentence) else None


def _ended(sentence: str) -> str:
    return sentence.rstrip(" .!") + "."


def own_words(text: str, statement: str) -> int:
    """How many of a text's longer words the statement lacks; those that only address the user do not count."""
    known = set(normalise(statement))
    return sum(word not in known for word in _longer_words(text))


def _longer_words(text: str) -> list[str]:
    return [word for word in normalise(text) if len(word) > 3 and word not in _ADDRESS]


def names_others(text: str, statement: str) -> bool:
    """Whether a text has a name or number that the statement lacks. The first word is no sign: it is written large."""
    known = set(normalise(statement))
    written = (word for word in text.split()[1:] if word[0].isupper() or word[0].isdigit())
    return any(not known.issuperset(normalise(word)) for word in written if not _I.fullmatch(word.strip(_MARKS)))


def strays(text: str, statement: str) -> bool:
    """Whether a text tells of something else than the statement: it names others, or most of its longer words, and
    more than two, are its own."""
    own = own_words(text, statement)
    return names_others(text, statement) or own > max(2, len(_longer_words(text)) - own)


def sentence_with(statement: str, detail: str) -> str:
    """The sentence of a statement that holds the detail; the whole statement if none does by itself."""
    return next((each for each in _BETWEEN_SENTENCES.split(statement) if _find(each, detail)), statement)


def parts(statement: str) -> list[str]:
    """What of a statement is studied at once: all of it, or of a passage each sentence."""
    if len(statement.split()) <= _MAX_CLOZE_WORDS:
        return [statement]
    return [sentence for sentence in _BETWEEN_SENTENCES.split(statement.strip()) if content_words(sentence)]


def cloze(statement: str, detail: str) -> str | None:
    """The question that asks for a detail in the statement's own words: *My bike has a red saddle.* without *red* asks
    *My bike has a what saddle?*.

    If the statement asks and answers it itself (*Where is it? Oslo.*) it is that question. None where nothing is left
    to ask with, and for a sentence of more than 40 words.
    """
    sentence = sentence_with(statement, detail)
    found = _find(sentence, detail)
    if not found or len(sentence.split()) > _MAX_CLOZE_WORDS:
        return None
    before, after = sentence[: found.start()], sentence[found.end() :].rstrip(" .!?")
    if not content_words(f"{before} {after}"):
        return _question_before(statement, sentence)
    return f"{before}what{after}?" if before.strip() else f"Who or what{after}?"


def _find(sentence: str, detail: str) -> re.Match[str] | None:
    return re.search(rf"(?<!\w){re.escape(detail)}(?!\w)", sentence, re.IGNORECASE)


def _question_before(statement: str, sentence: str) -> str | None:
    before = _BETWEEN_SENTENCES.split(statement[: statement.index(sentence)].rstrip())[-1]
    return before if is_question(before) else None
