"""Put right what the author copied with a slip: 'Ptolema' where the statement has 'Ptolemy'. Pure: no I/O.

A small model spells rare names from memory. All that it writes is checked against the statement, so one wrong letter
would cost every note that holds the name.
"""

import re
from collections.abc import Collection
from difflib import get_close_matches

from engram.grading import normalise

_WORD = re.compile(r"[^\W\d_]+")
_LEAST_LETTERS = 4
_LEAST_ALIKE = 0.82  # Ptolema and Ptolemy are 0.86 alike, Where and There 0.80


def respell_names(text: str, statement: str) -> str:
    """`text` with the names that it nearly spells as `statement` does spelt like it."""
    return _respell(text, {word for word in _words(statement) if word[0].isupper()}, only_names=True)


def respell_quote(quote: str, message: str) -> str:
    """`quote` with each word that the message lacks replaced by the one there that is nearly the same."""
    return _respell(quote, set(_words(message)), only_names=False)


def _respell(text: str, known: Collection[str], *, only_names: bool) -> str:
    def put_right(match: re.Match[str]) -> str:
        word = match[0]
        if word in known or len(word) < _LEAST_LETTERS or (only_names and not word[0].isupper()):
            return word
        return next(iter(get_close_matches(word, known, n=1, cutoff=_LEAST_ALIKE)), word)

    return _WORD.sub(put_right, text)


def _words(text: str) -> list[str]:
    return [word for word in _WORD.findall(text) if len(word) >= _LEAST_LETTERS and normalise(word)]
