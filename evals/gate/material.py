"""What one fact is taught and examined with: notes, the gate's probes, and a person's questions kept from both.

Notes and probes are the author's, as in a learning run. The questions kept back nearly copy neither a
note nor a probe: nothing but the independent judgement asks them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from engram.similarity import content_words, is_near_copy
from evals.gate.facts import Fact
from worker.author.client import Author
from worker.self_edits import STRATEGIES, HeldOut, Note, choose_probes, notes_of, wordings_of
from worker.study import study

KIND = "generalization"


@dataclass(frozen=True, slots=True)
class Draft:
    """Notes of one strategy, and its factor on the learning rate."""

    strategy: str
    rate: float
    notes: tuple[Note, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """`probes` are the gate's, `kept_back` the independent judgement's. `wordings` only the scope has."""

    fact: Fact
    drafts: tuple[Draft, ...]
    probes: tuple[HeldOut, ...]
    kept_back: tuple[HeldOut, ...]
    wordings: tuple[Note, ...] = ()

    @property
    def notes(self) -> tuple[Note, ...]:
        return self.drafts[0].notes

    @property
    def all_notes(self) -> list[Note]:
        """Those of every strategy, and the wordings: what the scope knows the fact by."""
        return [note for draft in self.drafts for note in draft.notes] + list(self.wordings)

    @property
    def golds(self) -> tuple[str, ...]:
        """Every answer that counts as right to some question about the fact."""
        return (*self.fact.answers, *(answer for probe in self.probes for answer in probe.answers))

    @property
    def is_usable(self) -> bool:
        """Whether it can be taught, examined by the gate, and judged by somebody else."""
        return bool(self.notes and self.probes and self.kept_back)


@dataclass(frozen=True, slots=True)
class Situation:
    """What a candidate meets: earlier facts that the live version knows, and a new one to learn.

    `resumed` is the earlier one whose weights a candidate may go on from. `general` are anchor prompts with the
    base's answers; `personal` are questions about the user never told.
    """

    new: Material
    earlier: tuple[Material, ...]
    other: Material
    resumed: Material
    general: tuple[tuple[str, str], ...]
    personal: tuple[str, ...]

    @property
    def told(self) -> frozenset[str]:
        """Content words that say what the ledger may be asked about, as a learning run gathers them."""
        said = [one.fact.statement for one in (self.new, *self.earlier)]
        said += [probe.question for probe in self.new.probes]
        return frozenset().union(*(content_words(text) for text in said))

    @property
    def golds(self) -> list[str]:
        """Every answer to a question about one of the facts."""
        return [gold for one in (self.new, *self.earlier) for gold in one.golds]


def by_author(facts: Sequence[Fact], author: Author, *, seed: int) -> list[Material]:
    """Notes and probes as a learning run has them written, for facts that are each learned alone."""
    written = study({fact.fact_id: fact.statement for fact in facts}, author, seed=seed)
    found = []
    for fact, one in zip(facts, written, strict=True):
        probes = choose_probes(one)
        drafts = [
            Draft(strategy.name, strategy.learning_rate_factor, tuple(notes_of(one, strategy, probes=probes)))
            for strategy in STRATEGIES
        ]
        found.append(_material(fact, drafts, probes, wordings_of(one, (), probes=probes)))
    return found


def _material(fact: Fact, drafts: Sequence[Draft], probes: Sequence[HeldOut], wordings: Sequence[Note]) -> Material:
    seen = [note.prompt for draft in drafts for note in draft.notes] + [note.prompt for note in wordings]
    seen += [probe.question for probe in probes]
    kept_back = [
        HeldOut(fact.fact_id, KIND, question, detail.answers)
        for detail in fact.details
        for question in detail.questions
        if not _is_near_any(question, seen)
    ]
    return Material(fact, tuple(drafts), tuple(probes), tuple(kept_back), tuple(wordings))


def _is_near_any(question: str, others: Iterable[str]) -> bool:
    return any(is_near_copy(question, other) for other in others)
