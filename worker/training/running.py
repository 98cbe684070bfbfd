"""The candidates of a training: those that still run, stacked, and the weights of those that have stopped."""

import math
from collections.abc import Sequence

import torch

from worker.training.optimizer import StackedAdamW
from worker.training.stacked_lora import StackedLora, Weights, repeat, select, stack
from worker.training.steps import CandidateRows, Progress, StepRows, TrainingPlan, schedule
from worker.training.stopping import Stop, StopPolicy, ended


class LossSums:
    """Losses of a step added up over its tokens, by running candidate."""

    def __init__(self, count: int) -> None:
        self.notes, self.own, self.kl = [0.0] * count, [0.0] * count, [0.0] * count


class RunningCandidates:
    """The candidates that still train, stacked, and the weights of those that have stopped."""

    def __init__(
        self, lora: StackedLora, initial: Weights, candidates: Sequence[CandidateRows], plan: TrainingPlan
    ) -> None:
        self.lora, self.plan, self.candidates = lora, plan, candidates
        self.running = list(range(len(candidates)))
        self.stopped: dict[int, Stop] = {}
        self.parts = 1
        self._done: dict[int, Weights] = {}
        self._own_losses: list[list[float]] = [[] for _ in candidates]
        self.weights = {
            name: w.clone().requires_grad_(lora.is_trained(name))
            for name, w in repeat(initial, len(candidates)).items()
        }
        self._optimizer = StackedAdamW({name: w for name, w in self.weights.items() if w.requires_grad})
        device = next(iter(initial.values())).device
        self._rates_C = torch.tensor([candidate.learning_rate for candidate in candidates], device=device)

    def apart(self, candidates: Sequence[CandidateRows]) -> "RunningCandidates":
        """The candidates for which this one stood, each going on from its weights and moments."""
        others = RunningCandidates(self.lora, self._at([0]), candidates, self.plan)
        others.parts = self.parts
        others._optimizer.go_on_from(self._optimizer)
        return others

    def advance(self, step: int) -> None:
        rates_C = self._rates_C[self.running] * schedule(step, self.plan)
        self._optimizer.step(rates_C, max_norm=self.plan.max_norm)

    def forget_gradients(self) -> None:
        for weight in self.weights.values():
            weight.grad = None

    def report(self, sums: LossSums, drawn: StepRows, step: int) -> Progress:
        """The step's means, by candidate, of all that were begun with."""
        progress = Progress(step + 1, self.plan.steps)
        own_tokens = [sum(len(row.answer) for row in own) for own in drawn.own]
        progress.note_loss = self._by_candidate(sums.notes, drawn.note_tokens)
        progress.own_loss = self._by_candidate(sums.own, own_tokens)
        if drawn.anchored:
            progress.anchor_kl = self._by_candidate(sums.kl, [drawn.anchor_tokens] * len(sums.kl))
        for candidate in self.running:
            self._own_losses[candidate].append(progress.own_loss[candidate])
        return progress

    def ended(self, candidate: int, policy: StopPolicy) -> Stop | None:
        """Why a candidate stops now; one without notes of its own has no loss to go by, and goes on."""
        if not (notes := self.candidates[candidate].notes):
            return None
        steps = math.ceil(len(notes) / self.plan.notes_per_step)
        return ended(self._own_losses[candidate], steps_per_pass=steps, policy=policy)

    def stop(self, stops: dict[int, Stop]) -> None:
        """End the training of some; their weights stay as they are."""
        if not stops:
            return
        self.stopped |= stops
        kept = [place for place, candidate in enumerate(self.running) if candidate not in stops]
        for place, candidate in enumerate(self.running):
            if candidate in stops:
                self._done[candidate] = self._at([place])
        self.weights = {name: w.requires_grad_(self.lora.is_trained(name)) for name, w in self._at(kept).items()}
        self._optimizer.keep([w for w in self.weights.values() if w.requires_grad], kept)
        self.running = [self.running[place] for place in kept]

    def all_weights(self) -> Weights:
        """Every candidate's weights, in their order."""
        last = {candidate: self._at([place]) for place, candidate in enumerate(self.running)}
        everyone = {**self._done, **last}
        return stack(*(everyone[candidate] for candidate in range(len(self.candidates))))

    def _at(self, places: Sequence[int]) -> Weights:
        return select({name: weight.detach() for name, weight in self.weights.items()}, places)

    def _by_candidate(self, sums: Sequence[float], tokens: Sequence[int]) -> list[float]:
        means = [math.nan] * len(self.candidates)
        for candidate, total, count in zip(self.running, sums, tokens, strict=True):
            means[candidate] = total / count if count else math.nan
        return means
