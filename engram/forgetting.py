"""Erase a fact for good, and withdraw every version that holds it. Never touches what is served now."""

from sqlalchemy.orm import Session

from engram.lifecycle import AdapterStatus, FactStatus, advance_adapter, advance_fact
from engram.models import Fact, Space
from engram.repositories import AdapterRepository, ChatRepository, FactRepository

FORGOTTEN_OR_ABOUT_TO_BE = (FactStatus.FORGETTING, FactStatus.FORGOTTEN)
_NEVER_TAUGHT = (FactStatus.PENDING, FactStatus.REJECTED)


def forget(session: Session, space: Space, fact: Fact, *, reason: str) -> bool:
    """Forget a fact: at once if no weights serve it, else by the worker, which rebuilds without it.

    False where that was asked for before. The space's row must be held.
    """
    if fact.status in FORGOTTEN_OR_ABOUT_TO_BE:
        return False
    if fact.status in _NEVER_TAUGHT:
        # A fact rejected by a rollback may still stand in the weights it was rolled back from.
        erase(session, space, fact, reason=reason)
    else:
        advance_fact(fact, to=FactStatus.FORGETTING)
        fact.reason = reason
    return True


def forget_unserved(session: Session, space: Space) -> None:
    """End the facts being forgotten that neither the live nor the canary weights hold any more."""
    adapters = AdapterRepository(session)
    for fact in FactRepository(session).with_status(space.id, FactStatus.FORGETTING):
        if not any(version.version in _served(space) for version in adapters.holding(fact.id)):
            erase(session, space, fact, reason=fact.reason)


def erase(session: Session, space: Space, fact: Fact, *, reason: str | None) -> None:
    """Delete what the database holds of a fact; no version but the served ones may answer with it again.

    The message in which it was said goes whole, and the answer to it, which may repeat it. The files of
    withdrawn versions are deleted by the worker, which finds them by their status.
    """
    for version in AdapterRepository(session).holding(fact.id):
        if version.version not in _served(space):
            advance_adapter(version, to=AdapterStatus.WITHDRAWN)
            version.reason = f"it held {fact.id}, which was forgotten"
        if version.version == space.previous_version:
            space.previous_version = None
    advance_fact(fact, to=FactStatus.FORGOTTEN)
    facts = FactRepository(session)
    facts.erase_questions_taken_over(fact)
    facts.erase_study_material(fact)
    fact.statement, fact.reason, fact.live_since_version = "", reason, None
    if fact.message_id:
        ChatRepository(session).erase_exchange(fact.message_id)
        facts.erase_spans(fact.message_id)


def _served(space: Space) -> tuple[int | None, ...]:
    return space.live_version, space.canary_version
