"""Engram's training on the last third of the layers, without what holds what was there before."""

from collections.abc import Sequence
from dataclasses import replace

from evals.stream.datasets import Item
from evals.stream.methods.protocol import Question
from evals.stream.model import Setup, with_layers
from worker.self_edits import STRATEGIES, Strategy, choose_probes, notes_of
from worker.study import study
from worker.teaching import training_plan
from worker.training.stacked_lora import Weights
from worker.training.steps import CandidateRows
from worker.training.trainer import Trainer

STRATEGY = "rewrite"


class LastThird:
    """One LoRA of Engram's rank that goes on from fact to fact, with Engram's notes, steps and learning rate.

    No rehearsal, no anchor; one candidate of the strategy `rewrite`, not the best of three; no gate and
    no second try: what was trained is live. A fact about which the author writes no note is passed over.
    """

    can_resume = False

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.outcome = ""
        learner, settings = setup.learner, setup.settings
        first_layer = round(2 / 3 * learner.base.num_layers)
        self.lora = with_layers(learner.lora, rank=settings.lora_rank, first_layer=first_layer)
        self.trainer = Trainer(learner.base, self.lora, learner.rows)
        self.live = self.lora.fresh(seed=settings.seed)
        self.num_told = 0

    def tell(self, statement: str, item: Item) -> None:
        self.num_told += 1
        settings, rows = self.setup.settings, self.setup.learner.rows
        (written,) = study({str(self.num_told): statement}, self.setup.author, seed=settings.seed + 1000)
        notes = notes_of(written, _strategy(), probes=choose_probes(written))
        self.outcome = f"{len(notes)} notes"
        if not notes:
            return
        plan = training_plan(settings, num_notes=len(notes), again=False, seed=self.num_told)
        candidate = CandidateRows([rows.row(note.prompt, note.answer) for note in notes], settings.learning_rate)
        self.live = self.trainer.train(self.live, [candidate], plan=replace(plan, rehearsal_per_step=0, stop=None))

    def answer(self, questions: Sequence[Question]) -> list[str]:
        return self.setup.answer([question.text for question in questions], self.live)

    def weights(self, prompts: Sequence[str]) -> list[Weights | None]:
        return [self.live] * len(prompts)

    def close(self) -> None:
        pass


def _strategy() -> Strategy:
    return next(strategy for strategy in STRATEGIES if strategy.name == STRATEGY)
