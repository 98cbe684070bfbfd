"""The author's tasks: how each is asked and how its answer is read. Pure: no I/O.

Formats are lines, not JSON: a small model spends its tokens on content, and a cut-off answer still
yields its complete lines. Gold answers are spans of the statement, so that a note or a probe can
be checked and cannot invent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

NOTHING = "NONE"
UNKNOWN = "UNKNOWN"
_ENDS = "?.!"

# System prompts. Short: the author is trained on them, and every row pays for each token.
EXTRACT = "Copy the lasting facts or write NONE."
DETAILS = "List what to remember of the fact."
QA = "Write the reply, then questions that it answers."
REWRITE = "Restate the fact to the user."
IMPLY = "Write what follows: question | reply."
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


def ask_questions(statement: str, detail: str) -> str:
    """The text of a QA prompt: questions that `detail`, a span of the statement, answers."""
    return f"Fact: {statement}\nAnswer: {detail}"


def read_extract(output: str) -> list[str]:
    """Quotes, in order; empty for NONE."""
    return [line for line in _lines(output) if line != NOTHING]


def read_details(output: str) -> list[str]:
    return list(dict.fromkeys(_lines(output)))


def read_questions(output: str, *, answer: str) -> list[Question]:
    """The first line is the reply, each further one a question that it answers. One cut off at the end is dropped."""
    reply, *questions = _lines(output) or [""]
    if questions and questions[-1][-1] not in _ENDS:
        questions.pop()
    return [Question(question, answer, reply) for question in questions]


def write_questions(reply: str, questions: Sequence[str]) -> str:
    """The lines that `read_questions` reads."""
    return "\n".join([reply, *questions])


def read_implications(output: str) -> list[Question]:
    """Lines of `question | reply`; others, cut-off ones too, are dropped. The reply is the answer."""
    split = ([part.strip() for part in line.split("|")] for line in _lines(output))
    return [Question(parts[0], parts[1], parts[1]) for parts in split if len(parts) == 2 and all(parts)]


def write_implications(implied: Sequence[Question]) -> str:
    """The lines that `read_implications` reads."""
    return "\n".join(f"{item.question} | {item.answer}" for item in implied)


def read_rewrites(output: str) -> list[str]:
    return list(dict.fromkeys(_lines(output)))


def _lines(output: str) -> list[str]:
    return [line.strip() for line in output.splitlines() if line.strip()]
