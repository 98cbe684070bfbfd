"""Make sure this Engram may start: its home and its ports are its own. Starts nothing."""

import errno
import fcntl
import ipaddress
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from cli.engine import LOOPBACK, engine_port
from engram.errors import Conflict
from engram.settings import Settings

ANY_PORT = 0
NUM_PORTS = 65536
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


@contextmanager
def own_addresses(settings: Settings) -> Iterator[Settings]:
    """Settings with a full home path and an engine address, their ports held. Raises Conflict for a taken port.

    An engine port that nobody chose is the one after the server's, or any free one, so that two
    Engrams run side by side.
    """
    changes: dict[str, object] = {"home": settings.home.expanduser().absolute()}
    with ExitStack() as held:

        def hold(host: str, port: int) -> int | None:
            reserved = reserve(host, port)
            return None if reserved is None else int(held.enter_context(reserved).getsockname()[1])

        if not hold(settings.host, settings.port):
            raise Conflict(
                f"port {settings.port} on {settings.host} is taken, or not ours to use; set PORT to another one"
            )
        if "engine_urls" not in settings.model_fields_set:
            port = hold(LOOPBACK, (settings.port + 1) % NUM_PORTS) or hold(LOOPBACK, ANY_PORT)
            changes["engine_urls"] = f"http://{LOOPBACK}:{port}"
        elif starts_engine(settings) and not hold(LOOPBACK, engine_port(settings)):
            raise Conflict(f"the engine's port {engine_port(settings)} is taken; set ENGRAM_ENGINE_URLS to another one")
        yield settings.model_copy(update=changes)


def starts_engine(settings: Settings) -> bool:
    """Whether the first engine is ours to start: one on loopback is, one elsewhere is somebody else's."""
    host = urlsplit(settings.engines[0]).hostname if settings.engines else None
    return host is not None and is_loopback(host)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reserve(host: str, port: int) -> socket.socket | None:
    """A socket that keeps the port from others until it is closed; None for a taken port.

    vLLM binds only after half a minute of imports, and in that time any outgoing connection of this
    machine could be given the port as its own. One that is bound is not given away, and a server that
    sets SO_REUSEADDR, as vLLM and uvicorn do, may still listen on it as long as this socket does not.
    Raises OSError for an address that is not this machine's.
    """
    reserved = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    reserved.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reserved.bind((host, port))
    except OSError as error:
        reserved.close()
        if error.errno in _TAKEN:
            return None
        raise
    return reserved


def any_free_port() -> int:
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """Different ports of the loopback address that nobody has now."""
    with ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((LOOPBACK, ANY_PORT))
        return [int(probe.getsockname()[1]) for probe in probes]
