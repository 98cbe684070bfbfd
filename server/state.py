"""What every request may use, opened once when the server starts."""

from dataclasses import dataclass

from engram.db import Database
from engram.queue import Doorbell
from engram.settings import Settings
from server.chat.scoping import Scoping
from server.engines import EnginePool
from server.ops.metrics import Metrics


@dataclass(frozen=True, slots=True)
class AppState:
    settings: Settings
    database: Database
    doorbell: Doorbell
    pool: EnginePool
    metrics: Metrics
    scoping: Scoping
