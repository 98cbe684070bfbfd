"""Tell a run's progress as server-sent events, read from the database in short looks. Ends with the run."""

import asyncio
import json
from collections.abc import AsyncIterator

from fastapi.concurrency import run_in_threadpool
from sse_starlette import ServerSentEvent

from engram.db import Database
from engram.repositories import RunRepository
from server.learning_runs.service import is_finished

POLL_S = 0.5


async def progress(database: Database, run_id: str, *, after: str = "") -> AsyncIterator[ServerSentEvent]:
    """Events of a run that come after the id `after`, until it is finished."""
    cursor = after
    while True:
        finished, events = await run_in_threadpool(look, database, run_id, cursor)
        for event in events:
            cursor = event.id or cursor
            yield event
        if finished:
            return
        await asyncio.sleep(POLL_S)


def look(database: Database, run_id: str, cursor: str) -> tuple[bool, list[ServerSentEvent]]:
    """Whether the run is finished, and what it reported after `cursor`."""
    with database.read() as session:
        runs = RunRepository(session)
        # The status first: what is reported up to the end is then in the events read after it.
        finished = is_finished(runs.by_id(run_id))
        rows = runs.events_after(run_id, cursor)
        return finished, [ServerSentEvent(id=row.id, event=row.event, data=json.dumps(row.data)) for row in rows]
