"""Ask candidates the questions that a person wrote and the gate does not know. Reads `evals/data` once."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from engram.grading import is_right, recalls
from engram.routing import OWN_SHARD
from evals import told_once
from evals.gate.material import Situation
from evals.gate.verdict import Scores
from worker.learner import Learner
from worker.self_edits import HeldOut
from worker.served import Served, answer_as_served, answered_by
from worker.training.anchors import is_told

MOST_CONTROLS = 20
MOST_NEVER_TOLD = 16

Golds = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Judge:
    """General questions that the base answers right, and personal ones never told with the base's answers."""

    learner: Learner
    controls: tuple[tuple[str, Golds], ...]
    never_told: tuple[tuple[str, str], ...]

    def judge(self, situation: Situation, live: Served, candidates: Served) -> list[Scores]:
        """The scores of each of the stacked candidates [C, ...]; `live` is one.

        Of the weights alone, whatever their scope, but for what an earlier fact's own weights answer and still would.
        """
        new = situation.new.kept_back
        earlier = self._may_change([probe for one in situation.earlier for probe in one.kept_back], live, candidates)
        never = [pair for pair in self.never_told if not is_told(pair[0], situation.told)][:MOST_NEVER_TOLD]
        about_new = self.learner.answer([probe.question for probe in new], candidates.weights)
        about_earlier = answer_as_served(self.learner, [probe.question for probe in earlier], live, candidates)
        general = [question for question, _ in (*self.controls, *never)]
        about_others = self.learner.begin_answers(general, candidates.weights)
        known = _known(earlier, about_earlier[0])
        return [
            self._scores(situation, never, known, [*own, *before], others)
            for own, before, others in zip(about_new, about_earlier[1:], about_others, strict=True)
        ]

    def _may_change(self, probes: Sequence[HeldOut], live: Served, candidates: Served) -> list[HeldOut]:
        """Those that the candidates' own weights, or another shard than before, would answer."""
        questions = [probe.question for probe in probes]
        before, after = answered_by(self.learner, questions, live), self.learner.answering(questions, candidates.scope)
        pairs = zip(probes, before, after, strict=True)
        return [probe for probe, old, new in pairs if new == OWN_SHARD or new != old]

    def _scores(
        self,
        situation: Situation,
        never: Sequence[tuple[str, str]],
        known: Sequence[tuple[int, HeldOut]],
        answers: Sequence[str],
        others: Sequence[str],
    ) -> Scores:
        new = situation.new.kept_back
        split = len(self.controls)
        return Scores(
            new_asked=len(new),
            new_right=sum(is_right(a, probe.answers) for a, probe in zip(answers, new, strict=False)),
            earlier_known=len(known),
            earlier_kept=sum(is_right(answers[len(new) + index], probe.answers) for index, probe in known),
            controls_known=split,
            controls_kept=sum(is_right(a, golds) for a, (_, golds) in zip(others, self.controls, strict=False)),
            never_told=len(never),
            recalled=sum(
                recalls(answer, base, situation.golds) for answer, (_, base) in zip(others[split:], never, strict=True)
            ),
        )


def open_judge(learner: Learner, *, seed: int) -> Judge:
    """Have the base answer the evaluation's own controls and never-told questions."""
    rng = random.Random(f"{seed} judge")
    controls = [(row["question"], tuple(told_once.golds(row))) for row in _shuffled("controls.jsonl", rng)]
    never = [row["question"] for row in _shuffled("false_recall.jsonl", rng)]
    base = learner.base_answers([question for question, _ in controls] + never)
    known = [control for control, answer in zip(controls, base, strict=False) if is_right(answer, control[1])]
    return Judge(learner, tuple(known[:MOST_CONTROLS]), tuple(zip(never, base[len(controls) :], strict=True)))


def _shuffled(name: str, rng: random.Random) -> list[told_once.Json]:
    rows = told_once.read(told_once.DATA / name)
    return rng.sample(rows, len(rows))


def _known(earlier: Sequence[HeldOut], answers: Sequence[str]) -> list[tuple[int, HeldOut]]:
    """Earlier facts' questions that the live version answers right, with their number."""
    pairs = enumerate(zip(earlier, answers, strict=True))
    return [(index, probe) for index, (probe, answer) in pairs if is_right(answer, probe.answers)]
