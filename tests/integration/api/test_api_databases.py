"""The same API on SQLite and on PostgreSQL: one walk through it, and what PostgreSQL alone would refuse."""

from tests.integration.api.conftest import StartApi


def test_api_behaves_the_same_on_both_databases(start_api: StartApi, database_url: str) -> None:
    api = start_api(database_url=database_url)
    api.publish("My cat is called Miso.")
    api.publish("I live in Rome.")
    assert api.chat("hi").headers["x-engram-adapter-version"] == "2"
    assert api.http.post("/v1/adapters/default/rollback", json={"reason": "wrong"}).json()["live_version"] == 1
    assert api.chat("hi").headers["x-engram-adapter-version"] == "1"
    added = api.http.post("/v1/facts", json={"statement": "I like tea."})
    assert added.status_code == 201
    edited = api.http.patch(f"/v1/facts/{added.json()['id']}", json={"statement": "I like green tea."})
    assert edited.json()["updated_at"] > added.json()["updated_at"]
    run = api.http.post("/v1/learning-runs")
    assert (run.status_code, run.json()["fact_ids"]) == (202, [added.json()["id"]])
    assert api.http.delete(f"/v1/facts/{added.json()['id']}").json()["status"] == "forgetting"
    assert api.http.get("/v1/facts", params={"q": "ROME"}).json()["data"][0]["status"] == "rejected"
    for path in ("/v1/adapters", "/v1/audit", "/v1/learning-runs", "/ops/panel", "/metrics", "/readyz"):
        assert api.http.get(path).status_code == 200, path


def test_text_that_postgresql_cannot_hold_is_refused_before_it(start_api: StartApi, database_url: str) -> None:
    api = start_api(database_url=database_url)
    assert api.chat("a\0b").status_code == 400
    assert api.http.post("/v1/facts", json={"statement": "a\0b"}).status_code == 400
    assert api.http.get("/v1/facts", params={"cursor": "\0"}).status_code == 400
    assert api.http.get("/v1/facts/%00").status_code == 400
