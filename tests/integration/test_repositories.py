"""The repositories on SQLite and PostgreSQL: spaces, facts, chats, pages, keys, times."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from threading import Barrier

import pytest
from sqlalchemy.exc import IntegrityError

from engram.db import Database
from engram.errors import NotFound
from engram.lifecycle import FactStatus, advance_fact
from engram.models import ApiKey, Fact, Space
from engram.models.base import utc_now
from engram.repositories import ChatRepository, FactRepository, OpsRepository, SpaceRepository


def test_threads_that_ask_for_a_new_space_at_once_get_the_same_one(database: Database) -> None:
    barrier = Barrier(8)

    def ask(_: int) -> str:
        barrier.wait()
        with database.transaction() as session:
            return SpaceRepository(session).get_or_create("local", "bob").id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(ask, range(8)))) == 1


def test_tenants_may_use_the_same_space_name_for_different_spaces(database: Database) -> None:
    with database.transaction() as session:
        spaces = SpaceRepository(session)
        first, second = spaces.get_or_create("local", "bob"), spaces.get_or_create("acme", "bob")
        assert first.id != second.id
        assert [found.id for found in spaces.all("acme")] == [second.id]
        assert {found.id for found in spaces.all()} == {first.id, second.id}


def test_pages_go_through_all_rows_newest_first_without_gap_or_repeat(database: Database, space: Space) -> None:
    with database.transaction() as session:
        facts = FactRepository(session)
        ids = [facts.add(space.id, f"Fact number {number}.").id for number in range(23)]
    seen, cursor, sizes = [], None, []
    with database.read() as session:
        while True:
            page = FactRepository(session).page(space.id, status=None, text=None, limit=10, cursor=cursor)
            seen += [fact.id for fact in page.rows]
            sizes.append(len(page.rows))
            if (cursor := page.next) is None:
                break
    assert seen == ids[::-1]
    assert sizes == [10, 10, 3]


def test_a_last_page_that_is_full_has_no_next(database: Database, space: Space) -> None:
    with database.transaction() as session:
        facts = FactRepository(session)
        for number in range(4):
            facts.add(space.id, f"Fact number {number}.")
        assert facts.page(space.id, status=None, text=None, limit=4, cursor=None).next is None
        assert facts.page(space.id, status=None, text=None, limit=3, cursor=None).next is not None


def test_a_page_holds_at_most_200_rows(database: Database, space: Space) -> None:
    with database.transaction() as session:
        facts = FactRepository(session)
        for number in range(201):
            facts.add(space.id, f"Fact number {number}.")
        assert len(facts.page(space.id, status=None, text=None, limit=10_000, cursor=None).rows) == 200


def test_paging_is_not_disturbed_by_rows_added_meanwhile(database: Database, space: Space) -> None:
    with database.transaction() as session:
        facts = FactRepository(session)
        old = [facts.add(space.id, f"Old {number}.").id for number in range(4)]
        first = facts.page(space.id, status=None, text=None, limit=2, cursor=None)
        facts.add(space.id, "New.")
        second = facts.page(space.id, status=None, text=None, limit=2, cursor=first.next)
        assert [fact.id for fact in second.rows] == [old[1], old[0]]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("%", ["I own 100% of it."]),
        ("_", ["My handle is dot_dash."]),
        ("100%", ["I own 100% of it."]),
        ("t_d", ["My handle is dot_dash."]),
        ("/", ["My rate is 3/4 of a day."]),
        ("\\", ["My share is \\\\nas."]),
        ("MY HANDLE", ["My handle is dot_dash."]),
        ("Élodie", ["Élodie is my aunt."]),
        ("nothing like it", []),
    ],
)
def test_search_takes_wildcards_literally_and_ignores_case(
    database: Database, space: Space, text: str, found: list[str]
) -> None:
    statements = [
        "I own 100% of it.",
        "My handle is dot_dash.",
        "My rate is 3/4 of a day.",
        "My share is \\\\nas.",
        "Élodie is my aunt.",
    ]
    with database.transaction() as session:
        facts = FactRepository(session)
        for statement in statements:
            facts.add(space.id, statement)
        page = facts.page(space.id, status=None, text=text, limit=10, cursor=None)
        assert [fact.statement for fact in page.rows] == found


def test_a_page_of_facts_shows_one_status_of_one_space(database: Database, space: Space) -> None:
    with database.transaction() as session:
        other = SpaceRepository(session).get_or_create("local", "bob")
        facts = FactRepository(session)
        wanted = facts.add(space.id, "I sing.", status=FactStatus.REJECTED, reason="no probe passed")
        facts.add(space.id, "I dance.")
        facts.add(other.id, "I whistle.", status=FactStatus.REJECTED, reason="no probe passed")
        page = facts.page(space.id, status="rejected", text=None, limit=10, cursor=None)
        assert [fact.id for fact in page.rows] == [wanted.id]


def test_find_standing_finds_the_same_words_among_standing_facts_of_the_space_only(
    database: Database, space: Space
) -> None:
    with database.transaction() as session:
        facts = FactRepository(session)
        fact = facts.add(space.id, "My cat is called Biscuit.")
        other = SpaceRepository(session).get_or_create("local", "bob")
        assert facts.find_standing(space.id, "my cat is called biscuit") is fact
        assert facts.find_standing(space.id, "My cat is called Crumb.") is None
        assert facts.find_standing(other.id, "My cat is called Biscuit.") is None
        advance_fact(fact, to=FactStatus.REJECTED)
        assert facts.find_standing(space.id, "My cat is called Biscuit.") is None


def test_a_fact_is_not_found_by_another_tenant(database: Database, space: Space) -> None:
    with database.transaction() as session:
        fact = FactRepository(session).add(space.id, "I sing.")
        assert FactRepository(session).get("local", fact.id) is fact
        with pytest.raises(NotFound):
            FactRepository(session).get("acme", fact.id)


def test_facts_are_counted_by_status_and_their_spaces_listed(database: Database, space: Space) -> None:
    with database.transaction() as session:
        facts = FactRepository(session)
        facts.add(space.id, "I sing.")
        facts.add(space.id, "I dance.")
        facts.add(space.id, "I whistle.", status=FactStatus.REJECTED)
        assert facts.count_by_status() == {"pending": 2, "rejected": 1}
        assert facts.spaces_with(FactStatus.PENDING) == [space.id]
        assert facts.spaces_with(FactStatus.LIVE) == []
        assert [fact.statement for fact in facts.with_status(space.id, FactStatus.PENDING, limit=1)] == ["I sing."]


def test_probes_of_one_origin_are_told_apart_and_erased_with_the_study_material(
    database: Database, space: Space
) -> None:
    with database.transaction() as session:
        facts = FactRepository(session)
        fact = facts.add(space.id, "My cat is called Biscuit.")
        for origin in ("user", "author"):
            facts.add_probe(fact.id, kind="reliability", origin=origin, question="Cat?", answers=["Biscuit", "biscuit"])
        session.flush()
        assert [probe.answers for probe in facts.probes([fact.id], origin="user")] == [["Biscuit", "biscuit"]]
        assert len(facts.probes([fact.id])) == 2
        facts.erase_study_material(fact)
        assert facts.probes([fact.id]) == []


def test_deleting_a_fact_takes_its_probes_along(database: Database, space: Space) -> None:
    with database.transaction() as session:
        facts = FactRepository(session)
        fact = facts.add(space.id, "My cat is called Biscuit.")
        facts.add_probe(fact.id, kind="reliability", origin="user", question="Cat?", answers=["Biscuit"])
    with database.transaction() as session:
        session.delete(session.get_one(Fact, fact.id))
    with database.read() as session:
        assert FactRepository(session).probes([fact.id]) == []


def test_the_database_refuses_a_fact_of_a_space_that_does_not_exist(database: Database) -> None:
    with pytest.raises(IntegrityError), database.transaction() as session:
        FactRepository(session).add("sp_nowhere", "I sing.")


def test_only_user_messages_await_extraction_oldest_first(database: Database, space: Space) -> None:
    with database.transaction() as session:
        chats = ChatRepository(session)
        conversation = chats.add_conversation(space.id, "digest")
        first = chats.add_message(conversation, role="user", content="I sing.")
        chats.add_message(conversation, role="assistant", content="Good for you.", adapter_version=3)
        second = chats.add_message(conversation, role="user", content="I dance.")
        assert chats.awaiting_extraction() == [first.id, second.id]
        assert chats.awaiting_extraction(limit=1) == [first.id]


def test_a_conversation_is_continued_by_its_tail_in_its_own_space(database: Database, space: Space) -> None:
    with database.transaction() as session:
        chats = ChatRepository(session)
        other = SpaceRepository(session).get_or_create("local", "bob")
        conversation = chats.add_conversation(space.id, "digest")
        assert chats.conversations_by_tail(space.id, ["digest", "another"]) == {"digest": conversation}
        assert chats.conversations_by_tail(other.id, ["digest"]) == {}


def test_the_newest_of_the_conversations_with_one_tail_is_continued(database: Database, space: Space) -> None:
    with database.transaction() as session:
        chats = ChatRepository(session)
        _, newer = chats.add_conversation(space.id, "digest"), chats.add_conversation(space.id, "digest")
        assert chats.conversations_by_tail(space.id, ["digest"]) == {"digest": newer}


def test_a_revoked_key_opens_nothing_and_no_secret_is_stored(database: Database) -> None:
    with database.transaction() as session:
        ops = OpsRepository(session)
        key = ops.add_key(tenant="acme", name="ci", secret="s3cret", scopes=["chat", "ops"])
        session.flush()
        assert "s3cret" not in {str(getattr(key, column.key)) for column in ApiKey.__table__.columns}
        found = ops.key("s3cret")
        assert found is not None
        assert found.scopes == ["chat", "ops"]
        assert ops.key("another") is None
        key.revoked_at = utc_now()
        session.flush()
        assert ops.key("s3cret") is None


def test_the_audit_log_is_read_newest_first_by_its_tenant_only(database: Database) -> None:
    with database.transaction() as session:
        ops = OpsRepository(session)
        for number in range(3):
            ops.record(tenant="acme", actor="ann", action="adapter.rollback", subject=f"alice/{number}", old={"v": 1})
        ops.record(tenant="local", actor="ann", action="adapter.rollback", subject="bob/1")
    with database.read() as session:
        rows = OpsRepository(session).audit("acme", limit=10, cursor=None).rows
        assert [row.subject for row in rows] == ["alice/2", "alice/1", "alice/0"]
        assert rows[0].old == {"v": 1}


def test_times_come_back_aware_and_in_utc(database: Database) -> None:
    moment = datetime(2026, 3, 29, 2, 30, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    with database.transaction() as session:
        space = SpaceRepository(session).get_or_create("local", "alice")
        space.created_at = moment
    with database.read() as session:
        found = SpaceRepository(session).get("local", "alice").created_at
    assert found == moment
    assert found.utcoffset() == timedelta(0)
    assert found.tzinfo is UTC


def test_a_transaction_that_raises_leaves_nothing(database: Database) -> None:
    def add_and_stop() -> None:
        with database.transaction() as session:
            SpaceRepository(session).get_or_create("local", "bob")
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        add_and_stop()
    with database.read() as session:
        assert SpaceRepository(session).find("local", "bob") is None


def test_reading_goes_on_while_another_transaction_writes(database: Database, space: Space) -> None:
    with database.transaction() as writer:
        FactRepository(writer).add(space.id, "I sing.")
        with database.read() as reader:
            assert FactRepository(reader).with_status(space.id, FactStatus.PENDING) == []
