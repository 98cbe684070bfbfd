"""Decide who a caller is and what they may do. Knows no HTTP.

With auth off everyone on this machine is the actor `local` of the tenant `local`, with all scopes.
"""

import ipaddress
from dataclasses import dataclass
from enum import StrEnum

from engram.errors import NotAuthenticated
from engram.models import ApiKey
from engram.settings import Settings


class Scope(StrEnum):
    CHAT = "chat"
    FACTS = "facts"
    OPS = "ops"


@dataclass(frozen=True, slots=True)
class Caller:
    """`actor` is the name that the audit log keeps."""

    tenant: str
    actor: str
    scopes: frozenset[str]

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes


LOCAL = Caller("local", "local", frozenset(Scope))


class UnsafeAddress(Exception):
    """The server would be open to the network without keys."""


def caller_of_key(key: ApiKey | None) -> Caller:
    """Raises NotAuthenticated for a key that is unknown or revoked."""
    if key is None:
        raise NotAuthenticated("this API key is not known or was revoked")
    return Caller(key.tenant, key.name, frozenset(key.scopes))


def check_address(settings: Settings) -> None:
    """Raises UnsafeAddress when auth is off on an address that others can reach."""
    if not settings.auth and not is_loopback(settings.host):
        raise UnsafeAddress(
            f"refusing to listen on {settings.host} without auth: set ENGRAM_AUTH=true and make a key, "
            "or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether a host name or address, without port, is this machine's own."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
