"""The only SQL of the project. A repository takes a session and never commits."""

from engram.repositories.adapters import AdapterRepository
from engram.repositories.chat import ChatRepository
from engram.repositories.facts import FactRepository
from engram.repositories.ops import OpsRepository
from engram.repositories.pages import Page
from engram.repositories.runs import RunRepository
from engram.repositories.spaces import SpaceRepository

__all__ = [
    "AdapterRepository",
    "ChatRepository",
    "FactRepository",
    "OpsRepository",
    "Page",
    "RunRepository",
    "SpaceRepository",
]
