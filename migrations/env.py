"""Run migrations on the connection that `engram.migrate` hands over, or, for the `alembic` command, on its own.

Always online: the migrations look at the database they change.
"""

from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Connection

from engram.db import Database
from engram.models import Base
from engram.models.base import UtcDateTime
from engram.settings import Settings


def _render_item(kind: str, item: Any, _context: AutogenContext) -> str | Literal[False]:
    """Write columns with SQLAlchemy's own types: a migration must not change when a model does."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, UtcDateTime) else False


def _run(connection: Connection) -> None:
    # SQLite cannot alter a column: batch mode copies the table instead.
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=connection.dialect.name == "sqlite",
        render_item=_render_item,
    )
    with context.begin_transaction():
        context.run_migrations()


if context.is_offline_mode():
    raise SystemExit("migrations need a database to look at: --sql is not supported")
if (connection := context.config.attributes.get("connection")) is not None:
    _run(connection)
else:
    database = Database(Settings().resolved_database_url)
    with database.engine.begin() as connection:
        _run(connection)
    database.dispose()
