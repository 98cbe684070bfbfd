"""Adapter versions: register them, find which must be loaded, read their history."""

from collections.abc import Mapping, Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from engram.errors import NotFound
from engram.ids import new_id
from engram.lifecycle import AdapterStatus
from engram.models import AdapterFact, AdapterVersion, Candidate, LivePeriod, Space
from engram.repositories.pages import Page, newest_first
from engram.routing import OWN_SHARD

SERVABLE = (AdapterStatus.LOADED, AdapterStatus.CANARY, AdapterStatus.LIVE, AdapterStatus.RETIRED)


class AdapterRepository:
    def __init__(self, session: Session) -> None:
        self.session = session

    def get(self, space_id: str, version: int) -> AdapterVersion:
        """Raises NotFound. Version 0, the base, has no row."""
        if adapter := self.find(space_id, version):
            return adapter
        raise NotFound(f"adapter version {version} does not exist in this space", param="version")

    def find(self, space_id: str, version: int) -> AdapterVersion | None:
        query = select(AdapterVersion).where(AdapterVersion.space_id == space_id, AdapterVersion.version == version)
        return self.session.scalar(query)

    def of_run(self, run_id: str) -> AdapterVersion | None:
        return self.session.scalar(select(AdapterVersion).where(AdapterVersion.run_id == run_id))

    def page(self, space_id: str, *, limit: int, cursor: str | None) -> Page[AdapterVersion]:
        query = select(AdapterVersion).where(AdapterVersion.space_id == space_id)
        return newest_first(self.session, query, id_column=AdapterVersion.id, limit=limit, cursor=cursor)

    def next_version(self, space_id: str) -> int:
        """Versions count up and are never used again."""
        highest = self.session.scalar(
            select(func.max(AdapterVersion.version)).where(AdapterVersion.space_id == space_id)
        )
        return (highest or 0) + 1

    def register(
        self,
        space: Space,
        candidate: Candidate,
        *,
        version: int,
        path: str,
        digest: str,
        held: Mapping[str, int],
        parent_version: int | None = None,
    ) -> AdapterVersion:
        """`held`: the shard that holds each fact, by its id; `OWN_SHARD` for the new version's own weights.

        `parent_version` is the version that it follows; by default the one that is live now.
        """
        adapter = AdapterVersion(
            id=new_id("ver"),
            space_id=space.id,
            version=version,
            parent_version=space.live_version if parent_version is None else parent_version,
            status=AdapterStatus.REGISTERED.value,
            lora_name=lora_name(space.id, version, digest),
            path=path,
            digest=digest,
            run_id=candidate.run_id,
            candidate_id=candidate.id,
        )
        self.session.add(adapter)
        self.session.flush()
        self.session.add_all(
            AdapterFact(version_id=adapter.id, fact_id=fact_id, shard=version if shard == OWN_SHARD else shard)
            for fact_id, shard in held.items()
        )
        self.session.flush()
        return adapter

    def fact_ids(self, version_id: str) -> Sequence[str]:
        return list(self.held(version_id))

    def held(self, version_id: str) -> dict[str, int]:
        """The facts that a version holds, each with the version whose weights hold it, by fact id."""
        query = select(AdapterFact.fact_id, AdapterFact.shard).where(AdapterFact.version_id == version_id)
        return dict(self.session.execute(query.order_by(AdapterFact.fact_id)).all())

    def shards(self, *adapters: AdapterVersion) -> list[AdapterVersion]:
        """The earlier versions with whose weights versions answer too, oldest first."""
        owner = aliased(AdapterVersion)
        query = (
            select(AdapterVersion)
            .join(AdapterFact, AdapterFact.shard == AdapterVersion.version)
            .join(owner, owner.id == AdapterFact.version_id)
            .where(owner.space_id == AdapterVersion.space_id, owner.id != AdapterVersion.id)
            .where(owner.id.in_([adapter.id for adapter in adapters]))
            .distinct()
            .order_by(AdapterVersion.version)
        )
        return list(self.session.scalars(query))

    def serves_others(self, adapter: AdapterVersion) -> bool:
        """Whether another version that may answer, or is about to, answers with this one's weights too."""
        query = select(AdapterVersion.id).join(AdapterFact, AdapterFact.version_id == AdapterVersion.id)
        query = query.where(
            AdapterVersion.space_id == adapter.space_id,
            AdapterVersion.id != adapter.id,
            AdapterVersion.status.in_((AdapterStatus.REGISTERED, *SERVABLE)),
            AdapterFact.shard == adapter.version,
        )
        return self.session.scalar(query.limit(1)) is not None

    def hot(self, *, keep: int) -> list[AdapterVersion]:
        """Versions that engines must hold: live, canary and previous ones, a space's `keep` newest servable, and all
        with whose weights these answer too.
        """
        hot: list[AdapterVersion] = []
        for space in self.session.scalars(select(Space)):
            aliases = {space.live_version, space.canary_version, space.previous_version}
            ranked = enumerate(self.servable(space.id))
            hot += [adapter for rank, adapter in ranked if rank < keep or adapter.version in aliases]
        return list({adapter.id: adapter for adapter in (*hot, *self.shards(*hot))}.values())

    def servable(self, space_id: str) -> list[AdapterVersion]:
        """Versions of a space that may answer, newest first."""
        query = select(AdapterVersion).where(AdapterVersion.space_id == space_id, AdapterVersion.status.in_(SERVABLE))
        return list(self.session.scalars(query.order_by(AdapterVersion.version.desc())))

    def with_status(self, *statuses: AdapterStatus) -> list[AdapterVersion]:
        return list(self.session.scalars(select(AdapterVersion).where(AdapterVersion.status.in_(statuses))))

    def holding(self, fact_id: str) -> list[AdapterVersion]:
        """Versions that hold a fact, in their own weights or in those of another shard."""
        query = select(AdapterVersion).join(AdapterFact, AdapterFact.version_id == AdapterVersion.id)
        return list(self.session.scalars(query.where(AdapterFact.fact_id == fact_id)))

    def paths(self) -> set[str]:
        """The folders of all versions."""
        return set(self.session.scalars(select(AdapterVersion.path)))

    def live(self) -> list[AdapterVersion]:
        """The live version of every space that has learned something."""
        query = select(AdapterVersion).join(Space, Space.id == AdapterVersion.space_id)
        return list(self.session.scalars(query.where(AdapterVersion.version == Space.live_version)))

    def live_periods(self, space_id: str, version: int | None = None) -> list[LivePeriod]:
        query = select(LivePeriod).where(LivePeriod.space_id == space_id).order_by(LivePeriod.id)
        return list(self.session.scalars(query.where(LivePeriod.version == version) if version is not None else query))


def lora_name(space_id: str, version: int, digest: str) -> str:
    """A version's name in vLLM, unique for ever: vLLM's prefix cache is keyed by it."""
    return f"{space_id}-v{version}-{digest[:8]}"
