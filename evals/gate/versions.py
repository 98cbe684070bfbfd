"""What a ledger's version and its candidates serve. Each earlier fact has weights of its own, one shard each, as
`ENGRAM_FACTS_PER_SHARD` has it by default; shards are numbered from 1 in the order of the facts."""

from collections.abc import Sequence
from dataclasses import dataclass

from engram.routing import OWN_SHARD
from evals.gate.material import Material, Situation
from scope.decision import Scope
from worker.learner import Learner
from worker.served import Served
from worker.training.stacked_lora import Weights


@dataclass(frozen=True)
class Ledger:
    """Earlier facts, and for each the weights, one candidate's, that were found to know it."""

    earlier: tuple[Material, ...]
    shards: tuple[Weights, ...]

    @property
    def resumed(self) -> int:
        """The fact, by index, whose weights a candidate goes on from that shall forget it: one that gate and judge can
        ask about."""
        return max(range(len(self.earlier)), key=self._asked)

    def _asked(self, index: int) -> tuple[int, int]:
        one = self.earlier[index]
        return min(len(one.probes), 2), len(one.kept_back)

    def shard(self, number: int) -> Weights:
        return self.shards[number - 1]


def live(learner: Learner, situation: Situation, ledger: Ledger) -> Served:
    """The version that the last of the earlier facts was published with."""
    number = len(ledger.shards)
    scope = _scope(learner, situation, ledger, own=[ledger.earlier[-1]], but=number - 1)
    return Served(ledger.shards[-1], scope, ledger.shard, number)


def candidates(learner: Learner, situation: Situation, ledger: Ledger, weights: Weights, *, resumes: bool) -> Served:
    """Stacked candidates [C, ...] for the new fact. `resumes`: they take the place of the shard that they go on from,
    and answer for its fact."""
    replaced = ledger.resumed if resumes else None
    own = [situation.new, *([ledger.earlier[ledger.resumed]] if resumes else [])]
    scope = _scope(learner, situation, ledger, own=own, but=replaced)
    return Served(weights, scope, ledger.shard)


def _scope(
    learner: Learner, situation: Situation, ledger: Ledger, *, own: Sequence[Material], but: int | None
) -> Scope | None:
    """That of weights which were taught `own`, beside the ledger's, without its fact number `but`."""
    others = {index + 1: one for index, one in enumerate(ledger.earlier) if index != but}
    return learner.scope(
        [note.prompt for one in own for note in one.all_notes],
        situation.told,
        said={
            OWN_SHARD: [one.fact.statement for one in own],
            **{shard: [one.fact.statement] for shard, one in others.items()},
        },
        elsewhere={n.prompt: shard for shard, one in others.items() for n in (*one.notes, *one.wordings)},
    )
