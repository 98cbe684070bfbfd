"""Grade free answers against gold ones, as SQuAD does. Pure: no I/O.

Right means: the normalised gold answer (or an alias) stands in the normalised answer as whole words.
Source of the normalisation and of token F1: Rajpurkar et al. 2016, arXiv 1606.05250.
"""

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence

_ARTICLES = {"a", "an", "the"}
_PUNCTUATION = re.compile("[" + re.escape(string.punctuation) + "–—‘’“”…]")
_NUMBERS = dict(
    zip(
        "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen "
        "sixteen seventeen eighteen nineteen twenty".split(),
        map(str, range(21)),
        strict=True,
    )
)


def normalise(text: str) -> list[str]:
    """Lower-case words without accents, punctuation and articles; number words up to twenty as digits."""
    plain = unicodedata.normalize("NFKD", text.lower())
    plain = "".join(char for char in plain if not unicodedata.combining(char))
    plain = re.sub(r"['’]s\b", "", plain)
    words = _PUNCTUATION.sub(" ", plain).split()
    return [_NUMBERS.get(word, word) for word in words if word not in _ARTICLES]


def is_right(answer: str, golds: Sequence[str]) -> bool:
    """Whether a gold stands in the answer as a run of whole words."""
    words = normalise(answer)
    return any(_contains(words, normalise(gold)) for gold in golds)


def recalls(answer: str, base_answer: str, told: Iterable[str]) -> bool:
    """Whether an answer holds something of what was told that the base's own answer does not."""
    return any(is_right(answer, [gold]) and not is_right(base_answer, [gold]) for gold in told)


def token_f1(answer: str, golds: Sequence[str]) -> float:
    """Best F1 of word overlap with a gold, 0 to 1."""
    return max((_f1(normalise(answer), normalise(gold)) for gold in golds), default=0.0)


def _contains(words: list[str], gold: list[str]) -> bool:
    size = len(gold)
    return size > 0 and any(words[i : i + size] == gold for i in range(len(words) - size + 1))


def _f1(words: list[str], gold: list[str]) -> float:
    common = sum((Counter(words) & Counter(gold)).values())
    if not common:
        return 0.0
    precision, recall = common / len(words), common / len(gold)
    return 2 * precision * recall / (precision + recall)
