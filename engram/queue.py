"""The doorbell between server and worker: huey on a SQLite file or on Redis.

The database is the truth. A job carries an id and nothing else; whatever the queue loses, the
worker's sweep finds again from row states.
"""

from collections.abc import Callable
from typing import Any

from huey import Huey, PriorityRedisHuey, SqliteHuey

from engram.settings import Settings

Handler = Callable[[str], None]


class Doorbell:
    """Ring with `extract` and `learn`; the worker says what they do with `answer`."""

    def __init__(self, huey: Huey) -> None:
        self.huey = huey
        self._handlers: dict[str, Handler] = {}
        self._extract = self._task("extract", priority=10)
        self._learn = self._task("learn", priority=0)

    def extract(self, message_id: str) -> None:
        """Ask for the facts of a message."""
        self._extract(message_id)

    def learn(self, space_id: str) -> None:
        """Ask for the pending facts of a space to be learned."""
        self._learn(space_id)

    def answer(self, *, extract: Handler, learn: Handler) -> None:
        """Set what the jobs do. Called once, by the worker."""
        self._handlers = {"extract": extract, "learn": learn}

    def is_alive(self) -> bool:
        """Whether the queue can be reached. Raises what its client raises if not."""
        return bool(self.huey.pending_count() >= 0)

    def _task(self, name: str, *, priority: int) -> Any:
        def run(row_id: str) -> None:
            self._handlers[name](row_id)

        return self.huey.task(name=name, priority=priority)(run)


def open_doorbell(settings: Settings) -> Doorbell:
    """Connect to the queue that the settings name."""
    if settings.queue_url.startswith(("redis://", "rediss://")):
        return Doorbell(PriorityRedisHuey("engram", url=settings.queue_url, results=False))
    settings.queue_path.parent.mkdir(parents=True, exist_ok=True)
    return Doorbell(SqliteHuey("engram", filename=str(settings.queue_path), results=False, fsync=True))
