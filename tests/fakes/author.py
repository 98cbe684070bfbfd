"""An author without a model: it writes what the test laid out, line for line, and remembers what it was asked."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from engram.errors import EngineUnavailable
from worker.author import tasks
from worker.author.client import GREEDY, Sampling
from worker.author.tasks import Question

Output = str | Callable[[Sampling], str]


@dataclass(frozen=True, slots=True)
class KnownFact:
    """A statement and all that the author can write about it."""

    statement: str
    questions: tuple[Question, ...]
    probes: tuple[Question, ...]
    rewrites: tuple[str, ...] = ()
    implications: tuple[Question, ...] = ()


@dataclass
class ScriptedAuthor:
    """`outputs` maps (task, text) to what is written, `answers` (statement, question) to what is answered."""

    outputs: Mapping[tuple[str, str], Output] = field(default_factory=dict)
    answers: Mapping[tuple[str, str], str] = field(default_factory=dict)
    facts: tuple[KnownFact, ...] = ()
    down: bool = False
    model: str = "author-fake"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def write(self, task: str, text: str, sampling: Sampling = GREEDY) -> str:
        self.asked.append((task, text))
        if self.down:
            raise EngineUnavailable("engine http://fake cannot be reached: ConnectError")
        output = self.outputs.get((task, text))
        if output is None:
            return self._about_known_facts(task, text)
        return output if isinstance(output, str) else output(sampling)

    def answer(self, statement: str, question: str) -> str:
        self.asked.append((tasks.ANSWER, question))
        known = self.answers.get((statement, question))
        spans = (q.answer for fact in self._about(statement) for q in (*fact.questions, *fact.probes))
        asked = (q.question for fact in self._about(statement) for q in (*fact.questions, *fact.probes))
        return known or dict(zip(asked, spans, strict=True)).get(question, tasks.UNKNOWN)

    def _about_known_facts(self, task: str, text: str) -> str:
        if task == tasks.EXTRACT:
            quotes = sorted((fact.statement for fact in self.facts if fact.statement in text), key=text.find)
            return "\n".join(quotes) or tasks.NOTHING
        for fact in self._about(text):
            if task == tasks.REWRITE:
                return "\n".join(fact.rewrites)
            lines = {tasks.QA: fact.questions, tasks.PROBE: fact.probes, tasks.IMPLY: fact.implications}
            return tasks.write_questions(list(lines[task]))
        return ""

    def _about(self, statement: str) -> list[KnownFact]:
        return [fact for fact in self.facts if fact.statement == statement]
