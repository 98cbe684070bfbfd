"""Train all candidates of a learning run together on the resident base.

Loss of a candidate: cross-entropy on the answers of its notes and of rehearsed earlier notes, plus
KL(base || candidate) on anchor prompts, token by token. The layers below `first_layer` are not
trained: their activations are computed once a row and kept. Above them, all candidates' rows run in
one batch over the frozen weights.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

import torch

from worker.training.base import ResidentBase
from worker.training.layers import through_layers
from worker.training.optimizer import StackedAdamW, falling
from worker.training.packing import Packed, pack
from worker.training.rows import ChatRows, Row
from worker.training.stacked_lora import StackedLora, Weights, repeat
from worker.training.vocabulary import cross_entropy, kl_to_base

Drawn = TypeVar("Drawn")

NOTE, ANCHOR = 0, 1
_MOST_KEPT_ROWS = 8000  # about 25 tokens of 1 KB each: 200 MB for the embedded base


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """What the candidates have in common."""

    steps: int
    notes_per_step: int = 16
    rehearsal_per_step: int = 8
    anchor_weight: float = 1.0
    warmup_steps: int = 2
    max_norm: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class CandidateRows:
    """One candidate's own training material."""

    notes: Sequence[Row]
    learning_rate: float


@dataclass(slots=True)
class Progress:
    """Losses after a step, by candidate: mean nats a token on notes, and KL to the base."""

    step: int
    steps: int
    note_loss: list[float] = field(default_factory=list)
    anchor_kl: list[float] = field(default_factory=list)


class Trainer:
    """Holds what stays between runs: the base, the wrapped layers, and activations of known rows."""

    def __init__(self, base: ResidentBase, lora: StackedLora, rows: ChatRows) -> None:
        self.base = base
        self.lora = lora
        self.rows = rows
        self._lower_weights: Weights = {}  # what candidates carry on the layers that are not trained
        self._lower: dict[Row, torch.Tensor] = {}  # row -> hidden [tokens, D] below the first trained layer
        self._base_hidden: dict[Row, torch.Tensor] = {}  # anchor -> the base's final hidden [answer tokens, D]
        self._prefix_hidden: torch.Tensor | None = None

    def train(
        self,
        initial: Weights,
        candidates: Sequence[CandidateRows],
        *,
        plan: TrainingPlan,
        rehearsal: Sequence[Row] = (),
        anchors: Sequence[tuple[Sequence[Row], int]] = (),
        on_step: Callable[[Progress], None] = lambda progress: None,
    ) -> Weights:
        """Train from `initial` (one candidate's weights) and return all candidates' weights, stacked.

        `anchors`: groups of rows, each with how many of it are drawn for a step. All candidates
        rehearse and are anchored with the same draws.
        """
        rng = random.Random(plan.seed)
        weights = {
            name: w.clone().requires_grad_(self.lora.is_trained(name))
            for name, w in repeat(initial, len(candidates)).items()
        }
        optimizer = StackedAdamW({name: w for name, w in weights.items() if w.requires_grad})
        rates_C = torch.tensor([candidate.learning_rate for candidate in candidates], device=self.base.device)
        decks = [Deck(candidate.notes, rng) for candidate in candidates]
        rehearsal_deck = Deck(rehearsal, rng)
        anchor_decks = [(Deck(rows, rng), count) for rows, count in anchors]
        all_anchors = [row for rows, _ in anchors for row in rows]
        self._keep(initial, [*(row for c in candidates for row in c.notes), *rehearsal], all_anchors)
        for step in range(plan.steps):
            rehearsed = rehearsal_deck.draw(plan.rehearsal_per_step)
            anchored = [row for deck, count in anchor_decks for row in deck.draw(count)]
            shared = [(row, NOTE) for row in rehearsed] + [(row, ANCHOR) for row in anchored]
            drawn = [[(row, NOTE) for row in deck.draw(plan.notes_per_step)] for deck in decks]
            packed = pack(self.rows.prefix, [own + shared for own in drawn], self.base.device)
            progress = Progress(step + 1, plan.steps)
            with self.lora.use(weights):
                hidden_ND = self._upper([[row for row, _ in own + shared] for own in drawn], packed)
                loss = self._loss(hidden_ND, packed, anchored, plan, progress)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step(rates_C * schedule(step, plan), max_norm=plan.max_norm)
            on_step(progress)
        return {name: w.detach() for name, w in weights.items()}

    def prepare(self, anchors: Sequence[Row]) -> None:
        """Compute what training keeps of anchors, so that the first run does not wait for it."""
        self._keep(self.lora.encoder, (), anchors)

    def base_hidden(self, anchors: Sequence[Row]) -> torch.Tensor:
        """The bare base's final hidden states at the anchors' answers, [N, D]: the other side of the KL."""
        self._remember_base(anchors)
        return torch.cat([self._base_hidden[row] for row in anchors])

    @torch.no_grad()
    def kl(self, weights: Weights, anchors: Sequence[Row]) -> list[float]:
        """Mean KL(base || candidate) a token on the anchors' answers, by candidate, in nats."""
        count = next(iter(weights.values())).shape[0]
        self._keep(weights, (), anchors)
        totals, tokens = [0.0] * count, 0
        for start in range(0, len(anchors), 8):
            chunk = list(anchors[start : start + 8])
            packed = pack(self.rows.prefix, [[(row, ANCHOR) for row in chunk]] * count, self.base.device)
            with self.lora.use(weights):
                hidden_ND = self._upper([chunk] * count, packed)
            kl_CN = self._kl(hidden_ND.view(count, -1, hidden_ND.shape[-1]), chunk)
            totals = [total + kl for total, kl in zip(totals, kl_CN.sum(-1).tolist(), strict=True)]
            tokens += kl_CN.shape[1]
        return [total / max(tokens, 1) for total in totals]

    def _loss(
        self, hidden_ND: torch.Tensor, packed: Packed, anchored: Sequence[Row], plan: TrainingPlan, progress: Progress
    ) -> torch.Tensor:
        """Sum over candidates, whose weights are apart: each gets the gradient it would get alone."""
        count = packed.ids_CT.shape[0]
        notes_N = packed.group_N == NOTE
        losses_N = cross_entropy(hidden_ND[notes_N], self._head_VD, packed.labels_N[notes_N])
        owner_N = packed.answer_at[0][notes_N]
        note_loss_C = torch.stack([losses_N[owner_N == c].mean() for c in range(count)])
        progress.note_loss = note_loss_C.tolist()
        # A candidate without notes has no such loss: not a number, and no part of the sum.
        total = note_loss_C[~note_loss_C.isnan()].sum()
        if anchored:
            kl_C = self._kl(hidden_ND[~notes_N].view(count, -1, hidden_ND.shape[-1]), anchored).mean(-1)
            progress.anchor_kl = kl_C.tolist()
            total = total + plan.anchor_weight * kl_C.sum()
        return total

    def _kl(self, hidden_CND: torch.Tensor, anchored: Sequence[Row]) -> torch.Tensor:
        """KL(base || candidate) at each answer token of the anchors, [C, N]."""
        return kl_to_base(hidden_CND, self._head_VD, self.base_hidden(anchored))

    @property
    def _head_VD(self) -> torch.Tensor:
        weight: torch.Tensor = self.base.model.lm_head.weight
        return weight

    def _upper(self, candidates: Sequence[Sequence[Row]], packed: Packed) -> torch.Tensor:
        """Final hidden states [N, D] at the predicted positions, through the trained layers."""
        hidden_CTD = self._assemble(candidates, packed.ids_CT.shape[1])
        hidden_CTD = through_layers(self.base, hidden_CTD, packed, self.lora.first_layer, self.base.num_layers)
        hidden: torch.Tensor = self.base.decoder.norm(hidden_CTD[packed.answer_at])
        return hidden

    def _assemble(self, candidates: Sequence[Sequence[Row]], width: int) -> torch.Tensor:
        assert self._prefix_hidden is not None
        hidden = self._prefix_hidden.new_zeros(len(candidates), width, self._prefix_hidden.shape[-1])
        for c, rows in enumerate(candidates):
            known = torch.cat([self._prefix_hidden, *(self._lower[row] for row in rows)])
            hidden[c, : len(known)] = known
        return hidden

    def _keep(self, weights: Weights, notes: Sequence[Row], anchors: Sequence[Row]) -> None:
        """Compute what is not known yet of rows that candidates with these weights are trained on or asked."""
        self._use_lower(weights)
        self._remember([*notes, *anchors])
        self._remember_base(anchors)

    def _use_lower(self, weights: Weights) -> None:
        """Drop what was kept if it was computed under other weights: an old version may carry no encoder."""
        lower = {name: w[:1] for name, w in weights.items() if not self.lora.is_trained(name)}
        known = self._lower_weights
        if lower.keys() != known.keys() or any(not torch.equal(w, known[name]) for name, w in lower.items()):
            self._lower_weights, self._prefix_hidden = lower, None
            self._lower.clear()

    @torch.no_grad()
    def _remember(self, rows: Sequence[Row]) -> None:
        """Compute and keep the activations below the trained layers for rows not seen before."""
        if len(self._lower) > _MOST_KEPT_ROWS:
            self._lower.clear()
        unknown = [row for row in dict.fromkeys(rows) if row not in self._lower]
        for start in range(0, len(unknown), 16):
            chunk = unknown[start : start + 16]
            packed = pack(self.rows.prefix, [[(row, NOTE) for row in chunk]], self.base.device)
            hidden = self.base.decoder.embed_tokens(packed.ids_CT)
            with self.lora.use(self._lower_weights):
                hidden_TD = through_layers(self.base, hidden, packed, 0, self.lora.first_layer)[0]
            at = len(self.rows.prefix)
            self._prefix_hidden = hidden_TD[:at].clone()
            for row in chunk:
                self._lower[row] = hidden_TD[at : at + len(row.inputs)].clone()
                at += len(row.inputs)

    @torch.no_grad()
    def _remember_base(self, anchors: Sequence[Row]) -> None:
        """Keep the bare base's final hidden states at the anchors' answers: the other side of the KL."""
        unknown = [row for row in dict.fromkeys(anchors) if row not in self._base_hidden]
        for start in range(0, len(unknown), 16):
            chunk = unknown[start : start + 16]
            packed = pack(self.rows.prefix, [[(row, ANCHOR) for row in chunk]], self.base.device)
            embedded = self.base.decoder.embed_tokens(packed.ids_CT)
            hidden_CTD = through_layers(self.base, embedded, packed, 0, self.base.num_layers)
            hidden_ND = self.base.decoder.norm(hidden_CTD[packed.answer_at])
            at = 0
            for row in chunk:
                self._base_hidden[row] = hidden_ND[at : at + len(row.answer)].clone()
                at += len(row.answer)


class Deck(Generic[Drawn]):
    """Draws in shuffled order, each once before any comes again."""

    def __init__(self, all_of_it: Sequence[Drawn], rng: random.Random) -> None:
        self.all = list(all_of_it)
        self.rng = rng
        self.left: list[Drawn] = []

    def draw(self, count: int) -> list[Drawn]:
        drawn: list[Drawn] = []
        while len(drawn) < min(count, len(self.all)):
            if not self.left:
                self.left = self.rng.sample(self.all, len(self.all))
            drawn.append(self.left.pop())
        return drawn


def schedule(step: int, plan: TrainingPlan) -> float:
    """Linear warm-up, then cosine down to a tenth of the peak."""
    if step < plan.warmup_steps:
        return (step + 1) / (plan.warmup_steps + 1)
    return falling((step - plan.warmup_steps) / max(plan.steps - plan.warmup_steps, 1))
