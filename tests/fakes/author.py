"""An author without a model: it writes what the test laid out, line for line, and remembers what it was asked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from engram.errors import EngineUnavailable
from worker.author import tasks
from worker.author.client import GREEDY, Job, Sampling
from worker.author.tasks import Question

Output = str | Callable[[Sampling], str]


@dataclass(frozen=True, slots=True)
class KnownFact:
    """A statement and all that the author can write about it. Of a detail, a probe is the question asked last."""

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

    def write_all(self, jobs: Sequence[Job]) -> list[str]:
        return [
            self.answer(*_fact_and_rest(job.text))
            if job.task == tasks.ANSWER
            else self.write(job.task, job.text, job.sampling)
            for job in jobs
        ]

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
        statement, detail = _fact_and_rest(text) if task == tasks.QA else (text, "")
        for fact in self._about(statement):
            if task == tasks.REWRITE:
                return "\n".join(fact.rewrites)
            if task == tasks.IMPLY:
                return tasks.write_implications(fact.implications)
            asked = (*fact.questions, *fact.probes)
            if task == tasks.DETAILS:
                return "\n".join(dict.fromkeys(question.answer for question in asked))
            of_detail = [question for question in asked if question.answer == detail]
            reply = of_detail[0].reply if of_detail else ""
            return tasks.write_questions(reply, [question.question for question in of_detail])
        return ""

    def _about(self, statement: str) -> list[KnownFact]:
        return [fact for fact in self.facts if fact.statement == statement]


def _fact_and_rest(text: str) -> tuple[str, str]:
    """The parts of the text of an ANSWER or QA prompt."""
    statement, rest = text.removeprefix("Fact: ").split("\n", 1)
    return statement, rest.split(": ", 1)[1]
