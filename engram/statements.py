"""Decide whether a statement may become a fact. Pure: no I/O."""

import re

from engram.grading import normalise

MAX_CHARACTERS = 2000
MAX_WORDS = 300

_ORDERS = re.compile(
    r"\b(ignore|disregard|forget|override)\b.{0,40}\b(instructions?|rules?|prompts?|guidelines?)\b"
    r"|\b(system|developer) (prompt|message|mode)\b"
    r"|\byou (must|should|will|are to|have to) (always|never|now|obey|answer|respond|reply|say|reveal|act|pretend)\b"
    r"|(?<!\bI )(?<!\bwe )(?<!\bthey )\b(always|never) (answer|respond|reply|begin|start|end|say|obey|reveal)\b"
    r"|\b(save|store|remember|add to memory) (this |as )?(a )?(rule|fact|instruction)s?\s*:"
    r"|\bfrom now on\b.{0,30}\byou\b"
    r"|<\|im_(start|end)\|>",
    re.IGNORECASE,
)


def why_not_a_fact(statement: str) -> str | None:
    """The reason why a statement cannot be learned, or None if it can."""
    words = normalise(statement)
    if not words:
        return "the statement is empty"
    if len(statement) > MAX_CHARACTERS or len(words) > MAX_WORDS:
        return f"the statement is longer than {MAX_WORDS} words; state one fact at a time"
    if _ORDERS.search(statement):
        return "this reads as an instruction to the assistant, not as a fact"
    if len(words) < 2:
        return "a single word states no fact"
    if is_question(statement):
        return "this is a question, not a statement"
    return None


def is_question(text: str) -> bool:
    return text.rstrip().endswith("?")
