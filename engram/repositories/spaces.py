"""Find and make memory spaces."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from engram.errors import NotFound
from engram.ids import new_id
from engram.models import Space
from engram.models.base import utc_now

DEFAULT_SPACE = "default"


class SpaceRepository:
    def __init__(self, session: Session) -> None:
        self.session = session

    def find(self, tenant: str, name: str) -> Space | None:
        return self.session.scalar(select(Space).where(Space.tenant == tenant, Space.name == name))

    def get(self, tenant: str, name: str) -> Space:
        """Raises NotFound."""
        if space := self.find(tenant, name):
            return space
        raise NotFound(f"space {name!r} does not exist", param="space")

    def find_listed(self, tenant: str, name: str) -> Space | None:
        """The space of a list. Raises NotFound, except for the default one, which merely is empty still."""
        return self.find(tenant, name) if name == DEFAULT_SPACE else self.get(tenant, name)

    def get_or_create(self, tenant: str, name: str) -> Space:
        """Safe when two requests meet: the second finds the first one's row."""
        if space := self.find(tenant, name):
            return space
        insert = postgresql.insert if self.session.get_bind().dialect.name == "postgresql" else sqlite.insert
        values = {"id": new_id("sp"), "tenant": tenant, "name": name, "live_version": 0, "created_at": utc_now()}
        self.session.execute(insert(Space).values(values).on_conflict_do_nothing())
        return self.get(tenant, name)

    def by_id(self, space_id: str, *, lock: bool = False) -> Space:
        """`lock` holds the row until the transaction ends, so that aliases change one at a time."""
        space = self.session.get(Space, space_id, with_for_update=lock, populate_existing=lock)
        if space is None:
            raise NotFound(f"space {space_id} does not exist")
        return space

    def all(self, tenant: str | None = None) -> list[Space]:
        query = select(Space).order_by(Space.id)
        return list(self.session.scalars(query.where(Space.tenant == tenant) if tenant else query))
