"""Tell whether a request continues a stored conversation. Pure: no I/O.

A conversation keeps the digest of its whole transcript. Clients send the transcript along each
time, so a request continues the conversation whose digest a beginning of its messages has. System
messages are left out: many clients put the time of day into them.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass

EMPTY = ""
_MOST_BEGINNINGS = 64
_LEFT_OUT = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Said:
    role: str
    text: str


def extend(digest: str, said: Said) -> str:
    """The digest of a transcript with one more message."""
    line = json.dumps([digest, said.role, said.text])
    return hashlib.sha256(line.encode()).hexdigest()


def beginnings(transcript: Sequence[Said]) -> list[tuple[str, list[Said]]]:
    """Digest of each beginning, the longest first, with the messages that come after it.

    The first one is the whole transcript. The empty beginning is left out: it continues nothing.
    """
    heard = [said for said in transcript if said.role not in _LEFT_OUT]
    digests, digest = [], EMPTY
    for said in heard:
        digest = extend(digest, said)
        digests.append(digest)
    ends = range(len(heard), max(0, len(heard) - _MOST_BEGINNINGS), -1)
    return [(digests[end - 1], heard[end:]) for end in ends]
