"""Names in what users say, and by which names a shard is asked for. Pure: no I/O.

A sentence encoder finds *What position does Igor Netto play?* near to the same question about Guy Moussi: nine words in
ten are the same. So what names others than a shard was asked with is not for that shard.
"""

import re
from collections import Counter
from collections.abc import Collection, Iterable
from itertools import zip_longest

from engram.grading import normalise
from engram.similarity import content_words, singular

# Of a shard's questions so many must have one of its names: *where does my sister live* need not say Anna.
_SHARE_NAMED = 0.25
_TIMES_NAMED = 2  # a name in one question alone may be the author's own
_WORD = re.compile(r"[^\W_](?:[\w.'’-]*\w)?")
_BEGINS = re.compile(r"(?:^|[.!?:;\n])[\s\"“”’(]*$")
_SHORTENED = re.compile(r"\b(?:[A-Z]|Dr|Mr|Mrs|Ms|Prof|St)\. ?$")  # *F. Scott*, *Dr. Lund*: no sentence ends there
_TITLES = frozenset({"dr", "mr", "mrs", "ms", "prof", "st"})
_NAMELESS = frozenset(
    "i im ive me my mine myself we us our ours he him his she her hers they them their theirs it its this".split()
)
_POSSESSIVE = re.compile(r"['’]s$")
_I = re.compile(r"I(?:['’]\w+)?")


def names_in(text: str) -> frozenset[str]:
    """Words written large where nothing but a name is, in small letters. Where a sentence begins a word counts only if
    the next one is written large too (*Guy Moussi plays ...*, not *Does Guy ...*)."""
    words = list(_WORD.finditer(text))
    if not any(word[0][:1].islower() for word in words):
        return frozenset()  # *WHERE DO I LIVE?*
    named = (word[0] for word, after in zip_longest(words, words[1:]) if _is_name(word, after))
    return frozenset(singular(part) for name in named for part in normalise(_POSSESSIVE.sub("", name))) - _TITLES


def asks_for(message: str) -> frozenset[str]:
    """What a shard that is asked for by names must have one of to answer: the message's names; of a message in small
    letters alone, where names cannot be told, all its words. Nothing where no name is needed: the message is about the
    user's own matters, or leans on what was said before."""
    if names := names_in(message):
        return names
    if message != message.lower() or message == message.upper():
        return frozenset()
    words = normalise(message)
    return frozenset() if _NAMELESS.intersection(words) else frozenset(map(singular, words))


def _is_name(word: re.Match[str], after: re.Match[str] | None) -> bool:
    before = word.string[: word.start()]
    if not _is_large(word[0]):
        return False
    begins = _BEGINS.search(before) and not _SHORTENED.search(before)
    return not begins or bool(after and _is_large(after[0]) and content_words(word[0]))


def asked_by_name(questions: Iterable[str], told: Iterable[str]) -> Collection[str]:
    """The names that a shard knows, which was taught `questions` about statements `told`.

    None where few of its questions have one: what is the user's own is asked for without.
    """
    named = [names_in(question) for question in dict.fromkeys(questions)]
    often = {name for name, times in Counter(name for own in named for name in own).items() if times >= _TIMES_NAMED}
    share = sum(not often.isdisjoint(own) for own in named) / max(len(named), 1)
    return often.union(*map(names_in, told)) if share >= _SHARE_NAMED else ()


def _is_large(word: str) -> bool:
    return word[:1].isupper() and not _I.fullmatch(word)
