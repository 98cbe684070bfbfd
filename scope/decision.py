"""Decide whether a message asks for something that a version was taught, and which of its shards was. Pure but for
reading and writing its file.

An adapter that is always on changes every answer a little, and where the base hardly knows, a little is enough. So a
version carries what it was asked in training beside its weights, and answers only what is nearer to that than to any
prompt that it was not taught: a scope classifier, as in SERAC (Mitchell et al. 2022, arXiv 2206.06520), by nearest
neighbours, as in GRACE (Hartvigsen et al. 2023, arXiv 2211.11031). Where several LoRAs hold what it knows, the nearest
one answers, as in MELO (Yu et al. 2024, arXiv 2312.11795). It holds questions, never answers: those are in the weights
alone. What names others than a shard is asked for by is not for it (`scope.names`).
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import blake2b
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from engram.artifacts import SCOPE
from engram.errors import AdapterRejected
from engram.routing import OWN_SHARD
from scope.names import asks_for

Vectors = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.int32]
Digests = npt.NDArray[np.uint64]


# A question asked in other words is near to several wordings of the one that was taught; a question about another
# thing of the same kind often to one alone. Of few questions only as large a part can be about one thing. Among the
# other prompts, too, a single one that is near by chance says less than three.
NEAREST = 3
# Vectors of another encoder say nothing.
ENCODER = "all-mpnet-base-v2"


@dataclass(frozen=True, slots=True)
class Scope:
    """Unit vectors of a sentence encoder, of width D.

    `told_ND`: the questions that a version was taught to answer; `shards_N`: the shard that was taught each of them.
    `others_MD`: prompts that it was held to the base's answers on, of which none asks for what was told.
    `digests_N` of the questions, by which a later version finds their vectors again; empty where they are not known.
    `names_K`: digests of the names that shard `name_shards_K` is asked for by; a shard without any is asked by none.
    """

    told_ND: Vectors
    shards_N: Numbers
    others_MD: Vectors
    digests_N: Digests
    names_K: Digests
    name_shards_K: Numbers

    @classmethod
    def of(
        cls,
        told_ND: Vectors,
        others_MD: Vectors,
        *,
        shards_N: Numbers | None = None,
        digests_N: Digests | None = None,
        names: Mapping[int, Collection[str]] | None = None,
    ) -> "Scope":
        """Without `shards_N` the version's own weights were taught everything. `names` by shard."""
        shards_N = np.full(len(told_ND), OWN_SHARD, np.int32) if shards_N is None else shards_N
        named = [(shard, name) for shard, own in (names or {}).items() for name in sorted(own)]
        return cls(
            told_ND,
            shards_N,
            others_MD,
            digests_of(()) if digests_N is None else digests_N,
            digests_of(name for _, name in named),
            np.array([shard for shard, _ in named], np.int32),
        )

    @classmethod
    def of_nothing(cls, width: int) -> "Scope":
        """Of the base, as a version: it answers nothing itself."""
        return cls.of(np.zeros((0, width), np.float32), np.zeros((0, width), np.float32))

    @property
    def nbytes(self) -> int:
        """What it takes in memory."""
        return sum(getattr(self, field.name).nbytes for field in fields(self))

    def vectors_of(self, questions: Sequence[str]) -> dict[str, Vectors]:
        """The vectors, [D], of those questions that it holds."""
        rows = dict(zip(self.digests_N.tolist(), self.told_ND, strict=False))
        digests = digests_of(questions).tolist()
        return {text: rows[digest] for text, digest in zip(questions, digests, strict=True) if digest in rows}

    def margins(self, messages: Sequence[str], messages_QD: Vectors) -> Vectors:
        """How much nearer each message is to what its shard was taught than to what was not, [Q]: -2 to 2, or -inf."""
        return self._nearest_shard(messages, messages_QD)[1]

    def answering(self, messages: Sequence[str], messages_QD: Vectors, *, min_margin: float) -> list[int | None]:
        """The shard that answers each message, the one that was taught what is nearest; None is out of scope.

        `messages_QD`: their vectors.
        """
        if not len(self.told_ND):
            return [None] * len(messages_QD)
        nearest_Q, margins_Q = self._nearest_shard(messages, messages_QD)
        inside_Q = margins_Q >= min_margin
        return [int(shard) if inside else None for shard, inside in zip(nearest_Q, inside_Q, strict=True)]

    def _nearest_shard(self, messages: Sequence[str], messages_QD: Vectors) -> tuple[Numbers, Vectors]:
        """The shard that was taught what is nearest to each message, [Q], and the message's margin, [Q].

        Infinitely far is a shard that is asked for by names, from a message that has other names alone.
        """
        told_QN = messages_QD @ self.told_ND.T
        shards_S = np.unique(self.shards_N)
        near_QS = np.stack([_near(told_QN[:, self.shards_N == shard]) for shard in shards_S], axis=1)
        for number, message in enumerate(messages):
            near_QS[number, np.isin(shards_S, self.of_others(message))] = -np.inf
        margins_Q: Vectors = near_QS.max(axis=1) - _nearest(messages_QD @ self.others_MD.T, NEAREST)
        return shards_S[near_QS.argmax(axis=1)], margins_Q

    def of_others(self, message: str) -> Numbers:
        """The shards that are asked for by names, but by none that this message has; none where it needs none."""
        names = asks_for(message)
        if not names:
            return np.zeros(0, np.int32)
        known_K = np.isin(self.names_K, digests_of(names))
        return np.setdiff1d(self.name_shards_K, self.name_shards_K[known_K])

    def save(self, folder: Path) -> None:
        """Put it beside the weights. Half precision: cosines keep three digits."""
        told, others = self.told_ND.astype(np.float16), self.others_MD.astype(np.float16)
        tensors = {"told": told, "others": others, "shards": self.shards_N, "digests": self.digests_N}
        tensors |= {"names": self.names_K, "name_shards": self.name_shards_K}
        save_file(tensors, folder / SCOPE, metadata={"encoder": ENCODER})


def load(folder: Path) -> Scope | None:
    """The scope of a version's folder; None for a version without one, which answers everything.

    So does one whose scope was made with another encoder, until the space learns again. Raises AdapterRejected for a
    file that cannot be read.
    """
    try:
        with safe_open(folder / SCOPE, framework="numpy") as file:
            if (file.metadata() or {}).get("encoder") != ENCODER:
                return None
            kept = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 -- no mapping
        none = digests_of(())  # files of before 2026-11-26 have no digests
        return Scope(
            kept["told"].astype(np.float32),
            kept["shards"],
            kept["others"].astype(np.float32),
            kept.get("digests", none),
            kept.get("names", none),
            kept.get("name_shards", np.zeros(0, np.int32)),
        )
    except FileNotFoundError:
        return None
    except KeyError as error:
        raise AdapterRejected(f"{SCOPE} has no tensor {error}") from error
    except (SafetensorError, OSError) as error:
        raise AdapterRejected(f"{SCOPE} cannot be read: {error}") from error


def digests_of(questions: Iterable[str]) -> Digests:
    """64 bits of each question's BLAKE2b: which it is can be checked, what it says cannot be read."""
    whole = [int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little") for text in questions]
    return np.array(whole, np.uint64)


def _near(similarities_QK: Vectors) -> Vectors:
    return _nearest(similarities_QK, min(NEAREST, -(-similarities_QK.shape[1] // NEAREST)))


def _nearest(similarities_QK: Vectors, count: int) -> Vectors:
    """The mean of each row's `count` largest, [Q]; of all where there are fewer, 0 where there are none."""
    count = min(count, similarities_QK.shape[1])
    if count == 0:
        return np.zeros(len(similarities_QK), np.float32)
    means_Q: Vectors = np.partition(similarities_QK, -count, axis=1)[:, -count:].mean(axis=1)
    return means_Q
