"""Select the lasting facts of a user message: verbatim spans, chosen by the author, never invented."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from engram.statements import is_question, why_not_a_fact
from worker.author import tasks
from worker.author.client import Author, Job
from worker.spelling import respell_quote

_PIECE_WORDS = 120
_MIN_MATCH = 0.9


@dataclass(frozen=True, slots=True)
class Quote:
    """A fact as the user said it; `start` and `end` are character offsets into the message."""

    text: str
    start: int
    end: int
    refusal: str | None = None


def extract(message: str, author: Author) -> list[Quote]:
    """The facts of a message in order, without overlaps.

    A quote that the message does not hold is dropped, and so is a question, whatever it lets one guess.
    """
    pieces = list(split_long(message))
    outputs = author.write_all([Job(tasks.EXTRACT, message[start:end].strip()) for start, end in pieces])
    found = [
        Quote(message[start:end], start, end, why_not_a_fact(message[start:end]))
        for (piece_start, piece_end), output in zip(pieces, outputs, strict=True)
        for quote in tasks.read_extract(output)
        if not is_question(quote)
        if (span := locate(respell_quote(quote, message[piece_start:piece_end]), message, piece_start, piece_end))
        for start, end in [span]
    ]
    return _without_overlaps(found)


def locate(quote: str, message: str, start: int = 0, end: int | None = None) -> tuple[int, int] | None:
    """Where the message says the quote: exactly, else but for case and spaces, else nearly (90 % of its words)."""
    end = len(message) if end is None else end
    if (at := message.find(quote, start, end)) >= 0:
        return at, at + len(quote)
    pattern = r"\s+".join(re.escape(word) for word in quote.split())
    if match := re.compile(pattern, re.IGNORECASE).search(message, start, end):
        return match.span()
    return _nearly(quote, message, start, end)


def split_long(message: str) -> Iterator[tuple[int, int]]:
    """Cut a long message at sentence ends into pieces that a small model reads well; a short one stays whole."""
    start, words = 0, 0
    for match in re.finditer(r"\S+", message):
        words += 1
        ends_sentence = match[0][-1] in ".!?" or message[match.end() : match.end() + 1] == "\n"
        if words >= 2 * _PIECE_WORDS or (words >= _PIECE_WORDS and ends_sentence):
            yield start, match.end()
            start, words = match.end(), 0
    if words:
        yield start, len(message)


def _nearly(quote: str, message: str, start: int, end: int) -> tuple[int, int] | None:
    words = [(match[0].lower(), *match.span()) for match in re.compile(r"\S+").finditer(message, start, end)]
    wanted = quote.lower().split()
    blocks = SequenceMatcher(None, wanted, [word for word, _, _ in words], autojunk=False).get_matching_blocks()
    matched = [block for block in blocks if block.size]
    if sum(block.size for block in matched) < _MIN_MATCH * len(wanted) or not matched:
        return None
    first, last = matched[0].b, matched[-1].b + matched[-1].size - 1
    if last - first + 1 > len(wanted) + 2:
        return None
    return words[first][1], words[last][2]


def _without_overlaps(quotes: list[Quote]) -> list[Quote]:
    kept: list[Quote] = []
    for quote in sorted(quotes, key=lambda quote: (quote.start, -quote.end)):
        if not kept or quote.start >= kept[-1].end:
            kept.append(quote)
    return kept
