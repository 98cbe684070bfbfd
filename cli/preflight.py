"""Make sure this Engram may start: its home is its own, its ports are free. Starts nothing."""

import errno
import fcntl
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from cli.engine import LOOPBACK, engine_port
from engram.errors import Conflict
from engram.settings import Settings

_TAKEN = (errno.EADDRINUSE, errno.EACCES)


@contextmanager
def own_home(settings: Settings) -> Iterator[None]:
    """Make ENGRAM_HOME and hold it. Raises Conflict if another Engram does; the lock ends with this process."""
    settings.home.mkdir(parents=True, exist_ok=True)
    with (settings.home / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise Conflict(
                f"{settings.home} is in use by another Engram ({lock.read().strip()}); "
                "stop it, or set ENGRAM_HOME to another folder"
            ) from None
        lock.truncate(0)
        lock.write(f"port {settings.port}")
        lock.flush()
        yield


def settle_addresses(settings: Settings) -> Settings:
    """Settings with a full home path and an engine address of their own. Raises Conflict for a taken port.

    An engine port that nobody chose is the one after the server's, or any free one, so that two
    Engrams run side by side.
    """
    if not is_free(settings.host, settings.port):
        raise Conflict(f"port {settings.port} on {settings.host} is taken, or not ours to use; set PORT to another one")
    changes: dict[str, object] = {"home": settings.home.expanduser().absolute()}
    if "engine_urls" not in settings.model_fields_set:
        wanted = settings.port + 1
        port = wanted if wanted < 65536 and is_free(LOOPBACK, wanted) else any_free_port()
        changes["engine_urls"] = f"http://{LOOPBACK}:{port}"
    elif starts_engine(settings) and not is_free(LOOPBACK, engine_port(settings)):
        raise Conflict(f"the engine's port {engine_port(settings)} is taken; set ENGRAM_ENGINE_URLS to another one")
    return settings.model_copy(update=changes)


def starts_engine(settings: Settings) -> bool:
    """Whether the first engine is ours to start: one on loopback is, one elsewhere is somebody else's."""
    host = urlsplit(settings.engines[0]).hostname if settings.engines else None
    return host is not None and is_loopback(host)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen there. Raises OSError for an address that is not this machine's."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno in _TAKEN:
                return False
            raise
        return True


def any_free_port() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])
