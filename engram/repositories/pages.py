"""Cut a query into pages. Ids sort by creation, so the last id of a page is the cursor of the next."""

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sqlalchemy import Select
from sqlalchemy.orm import Session

Row = TypeVar("Row")

MAX_LIMIT = 200


@dataclass(frozen=True, slots=True)
class Page(Generic[Row]):
    rows: list[Row]
    next: str | None


def newest_first(session: Session, query: Select[Row], *, id_column: Any, limit: int, cursor: str | None) -> Page[Row]:
    """One page of `query`, newest first; `next` is None on the last one."""
    if cursor:
        query = query.where(id_column < cursor)
    rows = list(session.scalars(query.order_by(id_column.desc()).limit(min(limit, MAX_LIMIT) + 1)))
    page = rows[: min(limit, MAX_LIMIT)]
    more = len(rows) > len(page)
    return Page(page, getattr(page[-1], id_column.key) if more else None)
