"""Say a user's statement back to the user: I becomes you, my becomes your. Pure: no I/O."""

import re

_SWAPS = {
    "i": "you",
    "me": "you",
    "my": "your",
    "mine": "yours",
    "myself": "yourself",
    "we": "you",
    "us": "you",
    "our": "your",
    "ours": "yours",
    "ourselves": "yourselves",
    "i'm": "you're",
    "im": "you're",
    "i've": "you've",
    "ive": "you've",
    "i'd": "you'd",
    "i'll": "you'll",
    "we're": "you're",
    "we've": "you've",
    "we'd": "you'd",
    "we'll": "you'll",
}
_VERBS_AFTER_I = {"am": "are", "was": "were", "wasn't": "weren't"}
_WORD = re.compile(r"[A-Za-z]+(?:['’][A-Za-z]+)?")


def second_person(statement: str) -> str:
    """'I am allergic to nuts' -> 'You are allergic to nuts.' Third-person statements stay as they are."""
    spoken, after_i = [], False
    last = 0
    for match in _WORD.finditer(statement):
        word = match[0]
        plain = word.lower().replace("’", "'")
        said = _VERBS_AFTER_I.get(plain, word) if after_i else _SWAPS.get(plain, word)
        # A verb stands right after "I", or before it: 'am I', 'as was I' are left alone.
        after_i = plain == "i"
        spoken += [statement[last : match.start()], said]
        last = match.end()
    text = "".join([*spoken, statement[last:]]).strip().rstrip("!,;:.-– ").strip()
    return text[:1].upper() + text[1:] + "." if text else ""
