"""Count the useful floating-point operations of a training step from shapes. Pure: measures nothing.

A product of [T, in] and [in, out] takes 2 * T * in * out operations. Only real tokens count, no
padding. Attention's own products, about a fiftieth of the whole at these lengths, norms, rotary
positions and softmax are not counted: what is left out makes the count, and a share made of it, smaller.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evals.bench.exercise import StepRows
from worker.training.rows import Ids

_FROM_HIDDEN = ("q_proj", "k_proj", "v_proj")


@dataclass(frozen=True, slots=True)
class Matrix:
    """A linear layer that carries a LoRA. `passes_gradient`: whether the gradient of its input is needed."""

    inputs: int
    outputs: int
    passes_gradient: bool = True


@dataclass(frozen=True, slots=True)
class Work:
    """Real tokens of one step.

    tokens: through the trained layers, all candidates, the shared prefix once for each of them.
    note_answers: predicted tokens of notes and rehearsal, all candidates.
    anchor_answers: predicted tokens of the anchors of one candidate; all candidates have the same.
    """

    candidates: int
    tokens: int
    note_answers: int
    anchor_answers: int


@dataclass(frozen=True, slots=True)
class Operations:
    """Floating-point operations of one step."""

    frozen_forward: int
    frozen_backward: int
    lora: int
    head: int

    @property
    def total(self) -> int:
        return self.frozen_forward + self.frozen_backward + self.lora + self.head


def trained_matrices(shapes: Mapping[str, tuple[int, int]], *, first_layer: int) -> list[Matrix]:
    """The linear layers from `first_layer` up, out of (in, out) by full name (`ResidentBase.shape`).

    What the first trained layer's attention reads are kept activations, so no gradient goes back through it.
    """
    found = []
    for name, (inputs, outputs) in shapes.items():
        _, _, number, *_, kind = name.split(".")  # model.layers.<number>. ... .<kind>
        if int(number) >= first_layer:
            reads_kept = int(number) == first_layer and kind in _FROM_HIDDEN
            found.append(Matrix(inputs, outputs, passes_gradient=not reads_kept))
    return found


def work_of(prefix: Ids, candidates: Sequence[StepRows]) -> Work:
    """The real tokens of a step in which the rows behind one prefix are packed, candidate by candidate."""
    rows = [row for own in candidates for row in (*own.learned, *own.anchored)]
    return Work(
        candidates=len(candidates),
        tokens=len(candidates) * len(prefix) + sum(len(row.inputs) for row in rows),
        note_answers=sum(len(row.answer) for own in candidates for row in own.learned),
        anchor_answers=sum(len(row.answer) for row in candidates[0].anchored),
    )


def step_operations(
    matrices: Sequence[Matrix], *, work: Work, rank: int, hidden_size: int, vocabulary_size: int
) -> Operations:
    """What a step needs: frozen weights forward and back to activations (never to themselves), LoRA, output matrix.

    LoRA: two products forward, their two weight gradients, and the gradients of the low state and of the input.
    Output matrix: logits and the gradient of the hidden state at predicted tokens; on anchors the base's
    logits besides, once for all candidates.
    """
    frozen = [2 * work.tokens * each.inputs * each.outputs for each in matrices]
    lora = 0
    for each in matrices:
        into, out_of = 2 * work.tokens * each.inputs * rank, 2 * work.tokens * rank * each.outputs
        lora += (into + out_of) + (into + out_of) + out_of + (into if each.passes_gradient else 0)
    logits = 2 * hidden_size * vocabulary_size
    positions = 2 * work.note_answers + (2 * work.candidates + 1) * work.anchor_answers
    return Operations(
        frozen_forward=sum(frozen),
        frozen_backward=sum(cost for cost, each in zip(frozen, matrices, strict=True) if each.passes_gradient),
        lora=lora,
        head=logits * positions,
    )
