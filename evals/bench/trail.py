"""What a training left behind, step by step, and what is read from it. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Trail:
    """The clock in seconds at the beginning and after each step; losses in nats a token, [step][candidate]."""

    begun_s: float
    ends_s: list[float] = field(default_factory=list)
    note_loss: list[list[float]] = field(default_factory=list)
    anchor_kl: list[list[float]] = field(default_factory=list)

    @property
    def seconds_per_step(self) -> float:
        """Mean over all steps but the first, which warms up."""
        return (self.ends_s[-1] - self.ends_s[0]) / (len(self.ends_s) - 1)

    @property
    def seconds_to_first_step(self) -> float:
        """Preparation (activations to keep, or building a Trainer) and the step that warms up."""
        return self.ends_s[0] - self.begun_s


def largest_difference(together: Trail, apart: Sequence[Trail]) -> float:
    """How far the note losses of one training of all candidates are from those of one training each, in nats."""
    return max(
        abs(loss - other.note_loss[step][0])
        for step, losses in enumerate(together.note_loss)
        for loss, other in zip(losses, apart, strict=True)
    )
