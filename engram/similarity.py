"""Decide whether two questions ask nearly the same in nearly the same words. Pure: no I/O."""

from itertools import pairwise

from engram.grading import normalise

_FRAME = set(
    "what whats which who whom whose when where why how am is are was were do does did you i my me our we your of in "
    "on at to for with that this it s re ve m d ll tell remind remember know can could please name again "
    "exactly".split()
)


def same_words(first: str, second: str) -> bool:
    """Whether both are the same words in the same order, after normalising."""
    return normalise(first) == normalise(second)


def is_near_copy(first: str, second: str, *, threshold: float = 0.85) -> bool:
    """Whether the Jaccard overlap of their word bigrams and words exceeds `threshold`.

    Bigrams, not words alone: 'Where does my sister live?' and 'My sister, where does she live?'
    share words yet are asked differently.
    """
    a, b = _shingles(first), _shingles(second)
    return bool(a and b) and len(a & b) / len(a | b) >= threshold


def content_words(text: str) -> frozenset[str]:
    """The words that carry a question's meaning: no question words, pronouns or auxiliaries."""
    return frozenset(content_terms(text))


def content_terms(text: str) -> list[str]:
    """The same words as they follow each other, as often as they stand there."""
    return [singular(word) for word in normalise(text) if word not in _FRAME]


def _shingles(text: str) -> set[tuple[str, ...]]:
    words = normalise(text)
    return {(word,) for word in words} | set(pairwise(words))


def singular(word: str) -> str:
    """Without the *s* of a plural; what ends in one otherwise (*Paris*) loses it too, alike everywhere."""
    return word[:-1] if len(word) > 3 and word.endswith("s") else word
