"""Decide whether a message asks for something that a version was taught. Pure but for reading and writing its file.

An adapter that is always on changes every answer a little, and where the base hardly knows, a little is enough. So a
version carries what it was asked in training beside its weights, and answers only what is near to it: a scope
classifier, as in SERAC (Mitchell et al. 2022, arXiv 2206.06520), by nearest neighbours, as in GRACE (Hartvigsen et al.
2023, arXiv 2211.11031). It holds questions, never answers: those are in the weights alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from engram.artifacts import SCOPE
from engram.errors import AdapterRejected

Vectors = npt.NDArray[np.float32]

NEAREST = 2
# Less than one: beside many facts a message may be as near to some prompt that was not taught as to one that was.
OTHERS_WEIGHT = 0.5
# Beside few facts little is near to anything told, and a smaller margin says enough. This share of the prompts that
# were not taught may pass for taught.
FALSE_ALARMS = 0.1


@dataclass(frozen=True, slots=True)
class Scope:
    """Unit vectors of a sentence encoder, of width D.

    `told_ND`: the questions that a version was taught to answer. `others_MD`: prompts that it was held to the base's
    answers on, of which none asks for what was told. `telling_margin`: what only `FALSE_ALARMS` of these exceed.
    """

    told_ND: Vectors
    others_MD: Vectors
    telling_margin: float

    @classmethod
    def of(cls, told_ND: Vectors, others_MD: Vectors) -> "Scope":
        """A scope whose telling margin is measured: each of the others against what was told and the rest of them."""
        rest_MM = others_MD @ others_MD.T
        np.fill_diagonal(rest_MM, -1)
        margins_M = _margins(others_MD @ told_ND.T, rest_MM)
        return cls(told_ND, others_MD, float(np.quantile(margins_M, 1 - FALSE_ALARMS)) if len(margins_M) else 0.0)

    def margins(self, messages_QD: Vectors) -> Vectors:
        """How much nearer each message is to what was told than to what was not, [Q]: about -0.5 to 1."""
        return _margins(messages_QD @ self.told_ND.T, messages_QD @ self.others_MD.T)

    def covers(self, messages_QD: Vectors, *, sure_margin: float) -> list[bool]:
        """Which messages the version answers itself: those with the telling margin, or with `sure_margin` if less."""
        least = min(self.telling_margin, sure_margin)
        return [bool(margin >= least) for margin in self.margins(messages_QD)]

    def save(self, folder: Path) -> None:
        """Put it beside the weights. Half precision: cosines keep three digits."""
        tensors = {"told": self.told_ND.astype(np.float16), "others": self.others_MD.astype(np.float16)}
        save_file(tensors, folder / SCOPE)


def load(folder: Path) -> Scope | None:
    """The scope of a version's folder; None for a version without one, which answers everything.

    Raises AdapterRejected for a file that cannot be read.
    """
    try:
        tensors = load_file(folder / SCOPE)
        return Scope.of(tensors["told"].astype(np.float32), tensors["others"].astype(np.float32))
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
