"""SQLAlchemy tables, one file a domain. Import `Base` for the metadata."""

from engram.models.adapter import AdapterFact, AdapterVersion, LivePeriod
from engram.models.base import Base
from engram.models.chat import Conversation, Message
from engram.models.fact import Fact, Note, Probe
from engram.models.learning import Candidate, LearningRun, RunEvent, RunFact
from engram.models.ops import ApiKey, AuditEvent
from engram.models.space import Space

__all__ = [
    "AdapterFact",
    "AdapterVersion",
    "ApiKey",
    "AuditEvent",
    "Base",
    "Candidate",
    "Conversation",
    "Fact",
    "LearningRun",
    "LivePeriod",
    "Message",
    "Note",
    "Probe",
    "RunEvent",
    "RunFact",
    "Space",
]
