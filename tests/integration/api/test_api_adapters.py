"""Versions over HTTP: lineage, one-step rollback, promote, export; always loaded before the alias moves."""

import io
import shutil
import tarfile
from pathlib import Path

import pytest

from engram.artifacts import CONFIG, WEIGHTS, digest_folder
from engram.lifecycle import AdapterStatus, advance_adapter
from engram.models import AdapterVersion
from tests.integration.api.conftest import Api, StartApi


def roll_back(api: Api, **body: object) -> int:
    response = api.http.post("/v1/adapters/default/rollback", json={"reason": "it was wrong", **body})
    assert response.status_code == 200, response.text
    return int(response.json()["live_version"])


def answering(api: Api) -> str:
    return api.chat("hi").headers["x-engram-adapter-version"]


def test_next_answer_after_a_rollback_and_a_promotion_is_from_that_version(api: Api) -> None:
    first, second = api.publish("one"), api.publish("two")
    assert answering(api) == "2"
    assert roll_back(api) == 1
    answer = api.chat("hi")
    assert answer.json()["choices"][0]["message"]["content"] == f"{first.lora_name}: hi"
    promoted = api.http.post("/v1/adapters/default/2/promote", json={"reason": "it was right"})
    assert promoted.json() == {"space": "default", "live_version": 2, "previous_version": 1, "canary_version": None}
    assert api.chat("hi").json()["choices"][0]["message"]["content"] == f"{second.lora_name}: hi"
    assert roll_back(api, to=0) == 0
    assert answering(api) == "0"


def test_rolling_back_twice_goes_further_back(api: Api) -> None:
    for statement in ("one", "two", "three"):
        api.publish(statement)
    assert [roll_back(api), roll_back(api), roll_back(api)] == [2, 1, 0]
    response = api.http.post("/v1/adapters/default/rollback", json={"reason": "more"})
    assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")


def test_rollback_skips_a_version_that_was_withdrawn(api: Api) -> None:
    api.publish("one")
    second = api.publish("two")
    api.publish("three")
    with api.database.transaction() as session:
        row = session.get(AdapterVersion, second.id)
        assert row is not None
        advance_adapter(row, to=AdapterStatus.WITHDRAWN)
    assert roll_back(api) == 1


@pytest.mark.parametrize(
    "body", [{}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": "x", "to": -1}]
)
def test_rollback_needs_a_reason(api: Api, body: dict[str, object]) -> None:
    api.publish("one")
    assert api.http.post("/v1/adapters/default/rollback", json=body).status_code == 400
    assert answering(api) == "1"


def test_moves_that_make_no_sense_are_refused(api: Api) -> None:
    api.publish("one")
    reason = {"reason": "why not"}
    assert api.http.post("/v1/adapters/default/1/promote", json=reason).status_code == 409
    assert api.http.post("/v1/adapters/default/9/promote", json=reason).status_code == 404
    assert api.http.post("/v1/adapters/nobody/rollback", json=reason).status_code == 404
    assert api.http.post("/v1/adapters/default/rollback", json={**reason, "to": 9}).status_code == 404


def test_version_that_the_engine_forgot_is_loaded_before_the_alias_moves(start_api: StartApi) -> None:
    api = start_api(keep_versions_loaded=0)
    first = api.publish("one")
    api.publish("two")
    api.publish("three")  # now the first is neither live nor previous
    api.wait_until(lambda: first.lora_name not in api.engine.adapters, what="unloaded")
    assert roll_back(api, to=1) == 1
    assert first.lora_name in api.engine.adapters


def test_engine_down_refuses_the_move_but_not_the_way_to_the_base(api: Api) -> None:
    api.publish("one")
    api.publish("two")
    api.engine.faults.down = True
    api.wait_until(lambda: api.http.get("/readyz").status_code == 503, what="down noticed")
    refused = api.http.post("/v1/adapters/default/rollback", json={"reason": "x"})
    assert refused.status_code == 503
    assert int(refused.headers["retry-after"]) > 0
    assert roll_back(api, to=0) == 0


def test_damaged_version_is_never_offered_to_the_engine(api: Api) -> None:
    first = api.publish("one")
    api.publish("two")
    api.wait_until(lambda: len(api.engine.adapters) == 2, what="both loaded")
    (Path(first.path) / WEIGHTS).write_bytes(b"something else")
    api.engine.restart()
    api.engine.calls.clear()
    refused = api.http.post("/v1/adapters/default/rollback", json={"reason": "x"})
    assert refused.status_code == 409
    assert "changed" in refused.json()["error"]["message"]
    assert answering(api) == "2"
    assert f"load {first.lora_name}" not in api.engine.calls
    assert api.http.get("/v1/adapters/default/1/export").status_code == 409


def test_lineage_tells_where_a_version_comes_from_and_when_it_was_live(api: Api) -> None:
    api.publish("one")
    version = api.publish("two")
    roll_back(api)
    detail = api.http.get("/v1/adapters/default/2").json()
    assert detail["digest"] == version.digest
    assert sorted(fact["statement"] for fact in detail["facts"]) == ["one", "two"]
    assert (detail["parent_version"], detail["strategy"], detail["aliases"]) == (1, "rewrites", ["previous"])
    (period,) = detail["live_periods"]
    assert (period["actor"], period["reason"]) == ("worker", "gate admitted it")
    assert period["from_at"] < period["until_at"]
    assert "path" not in detail
    listed = api.http.get("/v1/adapters").json()["data"]
    assert [(row["version"], row["status"]) for row in listed] == [(2, "retired"), (1, "live")]
    rollback = api.http.get("/v1/audit").json()["data"][0]
    assert (rollback["action"], rollback["reason"], rollback["new"]) == (
        "adapter.rollback",
        "it was wrong",
        {"live_version": 1},
    )


def test_export_is_a_tar_that_unpacks_to_the_same_adapter(api: Api, tmp_path: Path) -> None:
    version = api.publish("one")
    response = api.http.get("/v1/adapters/default/1/export")
    assert response.headers["content-disposition"] == 'attachment; filename="engram-default-v1.tar"'
    with tarfile.open(fileobj=io.BytesIO(response.content)) as archive:
        assert archive.getnames() == [f"engram-default-v1/{CONFIG}", f"engram-default-v1/{WEIGHTS}"]
        archive.extractall(tmp_path / "out", filter="data")
    assert digest_folder(tmp_path / "out" / "engram-default-v1") == version.digest


def test_export_of_what_must_not_be_served_is_refused(api: Api) -> None:
    version = api.publish("one", live=False)
    with api.database.transaction() as session:
        row = session.get(AdapterVersion, version.id)
        assert row is not None
        advance_adapter(row, to=AdapterStatus.FAILED)
    assert api.http.get("/v1/adapters/default/1/export").status_code == 409
    shutil.rmtree(version.path)
    assert api.http.get("/v1/adapters/default/0/export").status_code == 404
