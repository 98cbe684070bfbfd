"""The author's tasks: how each is asked and how its answer is read. Pure: no I/O.

Formats are lines, not JSON: a small model spends its tokens on content, and a cut-off answer still
yields its complete lines. Gold answers are spans of the statement, so that a note or a probe can
be checked and cannot invent.
"""

from collections.abc import Mapping
from dataclasses import dataclass

NOTHING = "NONE"
UNKNOWN = "UNKNOWN"

# System prompts. Short: the author is trained on them, and every row pays for each token.
EXTRACT = "Copy the lasting facts or write NONE."
QA = "Write study questions: question | answer | reply."
REWRITE = "Restate the fact to the user."
IMPLY = "Write what follows: question | reply."
PROBE = "Write exam questions: question | answer."
ANSWER = "Answer from the fact or write UNKNOWN."


@dataclass(frozen=True, slots=True)
class Question:
    """A question about a fact: `answer` is a span of the statement, `reply` the full sentence said to the user."""

    question: str
    answer: str
    reply: str = ""


Shots = Mapping[str, list[dict[str, str]]]  # chat turns that show a task, for a base without an author adapter


def prompt(task: str, text: str, shots: Shots | None = None) -> list[dict[str, str]]:
    """Chat messages that put `text` to the author for `task` (one of the constants above)."""
    return [{"role": "system", "content": task}, *(shots or {}).get(task, []), {"role": "user", "content": text}]


def ask_answer(statement: str, question: str) -> str:
    """The text of an ANSWER prompt."""
    return f"Fact: {statement}\nQuestion: {question}"


def read_extract(output: str) -> list[str]:
    """Quotes, in order; empty for NONE."""
    return [line for line in _lines(output) if line != NOTHING]


def read_questions(output: str, *, fields: int) -> list[Question]:
    """Lines of `question | answer [| reply]` with exactly `fields` parts; others, cut-off ones too, are dropped."""
    split = ([part.strip() for part in line.split("|")] for line in _lines(output))
    return [Question(*parts) for parts in split if len(parts) == fields and all(parts)]


def read_rewrites(output: str) -> list[str]:
    return list(dict.fromkeys(_lines(output)))


def write_questions(questions: list[Question]) -> str:
    """The lines that `read_questions` reads."""
    return "\n".join(" | ".join(part for part in (q.question, q.answer, q.reply) if part) for q in questions)


def _lines(output: str) -> list[str]:
    return [line.strip() for line in output.splitlines() if line.strip()]
