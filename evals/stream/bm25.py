"""Rank texts by the words that they share with a question: Okapi BM25. Pure: no I/O.

Source: Robertson and Zaragoza 2009, The Probabilistic Relevance Framework: BM25 and Beyond, Foundations and Trends
in Information Retrieval 3(4). One departure, as in Lucene: the weight of a word has 1 added within its logarithm,
since a word in more than half of the texts would else count against a text that holds it.
"""

import math
from collections import Counter

from engram.similarity import content_terms, content_words

TERM_SATURATION = 1.2  # k1
LENGTH_SHARE = 0.75  # b


class Bm25:
    """Grows by one text at a time."""

    def __init__(self) -> None:
        self._texts: list[Counter[str]] = []

    def add(self, text: str) -> None:
        self._texts.append(Counter(content_terms(text)))

    def scores(self, question: str) -> list[float]:
        """Of each text, in the order they were added: 0 if it shares no content word with the question, else above."""
        weights = {word: self._weight(word) for word in content_words(question)}
        mean_length = sum(text.total() for text in self._texts) / max(1, len(self._texts))
        return [sum(w * _frequency(text, word, mean_length) for word, w in weights.items()) for text in self._texts]

    def _weight(self, word: str) -> float:
        """How rare a word is."""
        holding = sum(word in text for text in self._texts)
        return math.log(1 + (len(self._texts) - holding + 0.5) / (holding + 0.5))


def _frequency(text: Counter[str], word: str, mean_length: float) -> float:
    """How often a word stands in a text: the more often the less each counts, and less in a long text."""
    if word not in text:
        return 0.0
    length = 1 - LENGTH_SHARE + LENGTH_SHARE * text.total() / mean_length
    return text[word] * (TERM_SATURATION + 1) / (text[word] + TERM_SATURATION * length)
