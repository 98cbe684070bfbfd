"""Decide whether a message asks for something that a version was taught, and which of its shards was. Pure but for
reading and writing its file.

An adapter that is always on changes every answer a little, and where the base hardly knows, a little is enough. So a
version carries what it was asked in training beside its weights, and answers only what is near to it: a scope
classifier, as in SERAC (Mitchell et al. 2022, arXiv 2206.06520), by nearest neighbours, as in GRACE (Hartvigsen et al.
2023, arXiv 2211.11031). Where several LoRAs hold what it knows, the nearest question says which of them answers, as in
MELO (Yu et al. 2024, arXiv 2312.11795). It holds questions, never answers: those are in the weights alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from engram.artifacts import SCOPE
from engram.errors import AdapterRejected
from engram.routing import OWN_SHARD

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]


NEAREST = 2
# Less than one: beside many facts a message may be as near to some prompt that was not taught as to one that was.
OTHERS_WEIGHT = 0.5
# Beside few facts little is near to anything told, and a smaller margin says enough. This share of the prompts that
# were not taught may pass for taught.
FALSE_ALARMS = 0.1


@dataclass(frozen=True, slots=True)
class Scope:
    """Unit vectors of a sentence encoder, of width D.

    `told_ND`: the questions that a version was taught to answer; `shards_N`: the shard that was taught each of them.
    `others_MD`: prompts that it was held to the base's answers on, of which none asks for what was told.
    `telling_margin`: what only `FALSE_ALARMS` of these exceed.
    """

    told_ND: Vectors
    shards_N: Numbers
    others_MD: Vectors
    telling_margin: float

    @classmethod
    def of(cls, told_ND: Vectors, others_MD: Vectors, *, shards_N: Numbers | None = None) -> "Scope":
        """A scope whose telling margin is measured: each of the others against what was told and the rest of them.

        Without `shards_N` the version's own weights were taught everything.
        """
        shards_N = np.full(len(told_ND), OWN_SHARD, np.int32) if shards_N is None else shards_N
        rest_MM = others_MD @ others_MD.T
        np.fill_diagonal(rest_MM, -1)
        margins_M = _margins(others_MD @ told_ND.T, rest_MM)
        telling = float(np.quantile(margins_M, 1 - FALSE_ALARMS)) if len(margins_M) else 0.0
        return cls(told_ND, shards_N, others_MD, telling)

    def margins(self, messages_QD: Vectors) -> Vectors:
        """How much nearer each message is to what was told than to what was not, [Q]: about -0.5 to 1."""
        return _margins(messages_QD @ self.told_ND.T, messages_QD @ self.others_MD.T)

    def answering(self, messages_QD: Vectors, *, sure_margin: float) -> list[int | None]:
        """The shard that answers each message, the one that was taught the nearest question; None is out of scope.

        In scope is what has the telling margin, or `sure_margin` if that is less.
        """
        least = min(self.telling_margin, sure_margin)
        inside_Q = self.margins(messages_QD) >= least
        if not len(self.told_ND):
            return [OWN_SHARD if inside else None for inside in inside_Q]
        nearest_Q = self.shards_N[(messages_QD @ self.told_ND.T).argmax(1)]
        return [int(shard) if inside else None for shard, inside in zip(nearest_Q, inside_Q, strict=True)]

    def save(self, folder: Path) -> None:
        """Put it beside the weights. Half precision: cosines keep three digits."""
        told, others = self.told_ND.astype(np.float16), self.others_MD.astype(np.float16)
        save_file({"told": told, "others": others, "shards": self.shards_N}, folder / SCOPE)


def load(folder: Path) -> Scope | None:
    """The scope of a version's folder; None for a version without one, which answers everything.

    Raises AdapterRejected for a file that cannot be read.
    """
    try:
        tensors = load_file(folder / SCOPE)
        told_ND, others_MD = (tensors[name].astype(np.float32) for name in ("told", "others"))
        return Scope.of(told_ND, others_MD, shards_N=tensors.get("shards"))  # the first scopes knew no shards
    except FileNotFoundError:
        return None
    except (SafetensorError, KeyError, OSError) as error:
        raise AdapterRejected(f"{SCOPE} cannot be read: {error}") from error


def _margins(told_QN: Vectors, others_QM: Vectors) -> Vectors:
    return _mean_of_nearest(told_QN) - np.float32(OTHERS_WEIGHT) * _mean_of_nearest(others_QM)


def _mean_of_nearest(similarities_QK: Vectors) -> Vectors:
    count = min(NEAREST, similarities_QK.shape[1])
    if count == 0:
        return np.zeros(len(similarities_QK), np.float32)
    means_Q: Vectors = np.partition(similarities_QK, -count, axis=1)[:, -count:].mean(axis=1)
    return means_Q
