"""Train all candidates of a learning run together on the resident base.

Loss of a candidate: cross-entropy on the answers of its notes and of rehearsed earlier notes, plus
KL(base || candidate) on anchor prompts, token by token. The layers below `first_layer` are not
trained: their activations are computed once a row, at the latest when it is drawn, and kept. Above
them, all candidates' rows run in one batch over the frozen weights. A candidate that has converged,
or is hopeless, stops early.

Candidates that have notes in common may train as one on these for a while, and go on apart from there:
each of those steps costs what one candidate's costs.
"""

import random
from collections.abc import Callable, Sequence

import structlog
import torch

from worker.training.base import ResidentBase
from worker.training.layers import through_layers
from worker.training.packing import Packed, pack
from worker.training.rows import ChatRows, Row
from worker.training.running import LossSums, RunningCandidates
from worker.training.stacked_lora import StackedLora, Weights
from worker.training.steps import (
    ANCHOR,
    NOTE,
    CandidateRows,
    Deck,
    Progress,
    SharedDecks,
    StepRows,
    TrainingPlan,
    in_common,
)
from worker.training.stopping import compared, converged
from worker.training.vocabulary import cross_entropy, kl_to_base

log = structlog.get_logger()

_ASKED_AT_ONCE = 8
_MOST_KEPT_ROWS = 8000  # about 25 tokens of 1 KB each: 200 MB for the embedded base


class Trainer:
    """Holds what stays between runs: the base, the wrapped layers, and activations of known rows."""

    def __init__(self, base: ResidentBase, lora: StackedLora, rows: ChatRows) -> None:
        self.base = base
        self.lora = lora
        self.rows = rows
        self._lower_weights: Weights = {}  # what candidates carry on the layers that are not trained
        # row -> hidden [tokens, D] below the first trained layer; what was used last stands last
        self._lower: dict[Row, torch.Tensor] = {}
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
        held_out: Sequence[Row] = (),
        on_step: Callable[[Progress], None] = lambda progress: None,
    ) -> Weights:
        """Train from `initial` (one candidate's weights) and return all candidates' weights, stacked.

        `anchors`: groups of rows, each with how many of it are drawn for a step. All candidates
        rehearse and are anchored with the same draws. `held_out`: right replies to questions that
        are in no note, by whose likelihood candidates are compared where the plan stops some.
        """
        rng = random.Random(plan.seed)
        decks = [Deck(candidate.notes, rng) for candidate in candidates]
        shared = SharedDecks(rehearsal, anchors, plan, rng)
        self._keep(initial, [*(row for c in candidates for row in c.notes), *held_out], ())
        as_one = in_common(candidates)
        shared_steps = min(plan.shared_steps, plan.steps) if as_one.notes else 0
        running = RunningCandidates(self.lora, initial, [as_one] if shared_steps else candidates, plan)
        shared_is_learned = False
        if shared_steps:
            deck = Deck(as_one.notes, rng)
            for step in range(shared_steps):
                on_step(self._step(running, shared.beside([deck]), step).for_each(len(candidates)))
                if shared_is_learned := bool(plan.stop and running.ended(0, plan.stop)):
                    break  # what they have in common is learned; they go on apart at the rate of their own steps
            running = running.apart(candidates)
        for step in range(shared_steps, plan.steps):
            progress = self._step(running, shared.beside(decks), step)
            if plan.stop:
                self._stop(running, progress, held_out, shared_is_learned=shared_is_learned)
            on_step(progress)
            if not running.running:
                break
        return running.all_weights()

    def _step(self, running: RunningCandidates, drawn: StepRows, step: int) -> Progress:
        """One optimizer step. Out of memory, it is done in twice as many parts, and so are all later ones."""
        own = drawn.of(running.running)
        self._remember([row for rows in own.rows for row in rows])
        self._remember_base(own.anchored)
        while True:
            try:
                progress = self._accumulate(running, own, step)
                break
            except (RuntimeError, MemoryError) as error:
                if not _is_out_of_memory(error) or running.parts >= max(map(len, own.rows)):
                    raise
            running.forget_gradients()
            running.parts *= 2
            log.warning("trainer.out_of_memory", parts_of_a_step=running.parts)
        running.advance(step)
        return progress

    def _accumulate(self, running: RunningCandidates, drawn: StepRows, step: int) -> Progress:
        """Gradients of a step, part by part; the sum is that of all rows at once."""
        sums = LossSums(len(running.running))
        for number in range(running.parts):
            part = drawn.part(number, running.parts)
            if not any(part.rows):
                continue
            packed = pack(self.rows.prefix, part.grouped, self.base.device)
            with self.lora.use(running.weights):
                hidden_ND = self._upper(part.rows, packed)
                loss = self._loss(hidden_ND, packed, part, sums, of=drawn, anchor_weight=running.plan.anchor_weight)
            loss.backward()  # type: ignore[no-untyped-call]
        return running.report(sums, drawn, step)

    def _stop(
        self, running: RunningCandidates, progress: Progress, held_out: Sequence[Row], *, shared_is_learned: bool
    ) -> None:
        """End the training of those that need no more of it, and say so in `progress`.

        `shared_is_learned`: before they went apart they had learned what they have in common; then none goes on after
        they are compared.
        """
        plan, policy = running.plan, running.plan.stop
        assert policy is not None
        running.stop({c: stop for c in running.running if (stop := running.ended(c, policy))})
        apart = max(1, round(policy.compared_at * (plan.steps - plan.shared_steps)))
        compare_at = max(plan.warmup_steps, plan.shared_steps + apart)
        if progress.step == compare_at and progress.step < plan.steps and held_out and len(running.running) > 1:
            likelihoods = [sum(own) / len(own) for own in self.likelihoods(running.weights, held_out)]
            moved = [progress.anchor_kl[c] if progress.anchor_kl else 0.0 for c in running.running]
            # What is learned against what it costs, weighed as in the loss.
            scores = [found - plan.anchor_weight * kl for found, kl in zip(likelihoods, moved, strict=True)]
            stops = compared(scores, step=progress.step, policy=policy)
            running.stop({running.running[place]: stop for place, stop in stops.items()})
        if shared_is_learned and progress.step >= compare_at:
            running.stop({c: converged(progress.step) for c in running.running})
        progress.stopped = dict(running.stopped)

    def prepare(self, anchors: Sequence[Row]) -> None:
        """Compute what training keeps of anchors, so that the first run does not wait for it."""
        self._keep(self.lora.encoder, (), anchors)

    def unknown(self, anchors: Sequence[Row]) -> list[Row]:
        """Those of which something is not kept, yet or any more."""
        return [row for row in anchors if row not in self._base_hidden or row not in self._lower]

    def base_hidden(self, anchors: Sequence[Row]) -> torch.Tensor:
        """The bare base's final hidden states at the anchors' answers, [N, D]: the other side of the KL."""
        self._remember_base(anchors)
        return torch.cat([self._base_hidden[row] for row in anchors])

    @torch.no_grad()
    def kl(self, weights: Weights, anchors: Sequence[Row]) -> list[float]:
        """Mean KL(base || candidate) a token on the anchors' answers, by candidate, in nats."""
        self._remember_base(anchors)
        kl_CN = self._asked(weights, anchors, self._kl)
        return [float(kl_N.mean()) if len(kl_N) else 0.0 for kl_N in kl_CN]

    @torch.no_grad()
    def likelihoods(self, weights: Weights, rows: Sequence[Row]) -> list[list[float]]:
        """Mean log-likelihood a token of each row's answer, [candidate][row], in nats."""

        def losses(hidden_CND: torch.Tensor, chunk: Sequence[Row]) -> torch.Tensor:
            labels_N = torch.tensor([token for row in chunk for token in row.answer], device=self.base.device)
            return torch.stack([cross_entropy(hidden_ND, self._head_VD, labels_N) for hidden_ND in hidden_CND])

        losses_CN = self._asked(weights, rows, losses)
        lengths = [len(row.answer) for row in rows]
        return [[-float(own.mean()) for own in losses_N.split(lengths)] for losses_N in losses_CN]

    def _asked(
        self, weights: Weights, rows: Sequence[Row], measure: Callable[[torch.Tensor, Sequence[Row]], torch.Tensor]
    ) -> torch.Tensor:
        """What `measure` finds at each answer token of the rows, of hidden states [C, N, D], for all candidates."""
        count = next(iter(weights.values())).shape[0]
        self._keep(weights, rows, ())
        found = [torch.zeros(count, 0, device=self.base.device)]
        for start in range(0, len(rows), _ASKED_AT_ONCE):
            chunk = list(rows[start : start + _ASKED_AT_ONCE])
            packed = pack(self.rows.prefix, [[(row, ANCHOR) for row in chunk]] * count, self.base.device)
            with self.lora.use(weights):
                hidden_ND = self._upper([chunk] * count, packed)
            found.append(measure(hidden_ND.view(count, -1, hidden_ND.shape[-1]), chunk))
        return torch.cat(found, 1)

    def _loss(
        self,
        hidden_ND: torch.Tensor,
        packed: Packed,
        part: StepRows,
        sums: LossSums,
        *,
        of: StepRows,
        anchor_weight: float,
    ) -> torch.Tensor:
        """A part's share of the sum over candidates, whose weights are apart: each gets the gradient it would get
        alone. Means are over the tokens of the whole step, `of`."""
        count = packed.ids_CT.shape[0]
        learned_N = packed.group_N != ANCHOR
        losses_N = cross_entropy(hidden_ND[learned_N], self._head_VD, packed.labels_N[learned_N])
        owner_N, own_N = packed.answer_at[0][learned_N], packed.group_N[learned_N] == NOTE
        total = hidden_ND.new_zeros((), dtype=losses_N.dtype)
        for c in range(count):
            loss = losses_N[owner_N == c].sum()
            sums.notes[c] += loss.item()
            sums.own[c] += losses_N[(owner_N == c) & own_N].sum().item()
            total = total + loss / max(of.note_tokens[c], 1)
        if part.anchored:
            hidden_CND = hidden_ND[~learned_N].view(count, -1, hidden_ND.shape[-1])
            kl_C = self._kl(hidden_CND, part.anchored).sum(-1)
            sums.kl = [kl + more for kl, more in zip(sums.kl, kl_C.tolist(), strict=True)]
            total = total + anchor_weight * kl_C.sum() / of.anchor_tokens
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
        """Compute and keep the activations below the trained layers for rows not seen before.

        What was used longest ago is dropped for it.
        """
        wanted = dict.fromkeys(rows)
        for row in wanted:
            if row in self._lower:
                self._lower[row] = self._lower.pop(row)
        if (too_many := len(self._lower) - _MOST_KEPT_ROWS) > 0:
            for row in [row for row in self._lower if row not in wanted][:too_many]:
                del self._lower[row]
        unknown = [row for row in wanted if row not in self._lower]
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


def _is_out_of_memory(error: BaseException) -> bool:
    """PyTorch raises a plain RuntimeError where the processor's own memory is out."""
    return isinstance(error, (torch.OutOfMemoryError, MemoryError)) or "can't allocate memory" in str(error)
