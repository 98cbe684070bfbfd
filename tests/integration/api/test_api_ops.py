"""Health, the reconciler, metrics, the console and keys."""

import httpx
import pytest

from engram.gate import GateDecision, Reason, not_examined
from engram.lifecycle import RunStatus
from engram.repositories import RunRepository
from engram.settings import Settings
from server.app import create_app
from server.auth import UnsafeAddress
from tests.fakes.engine import FakeEngine
from tests.fakes.serving import serving
from tests.integration.api.conftest import Api, StartApi


def test_engine_that_dies_gives_503_with_retry_after_until_its_adapters_are_back(start_api: StartApi) -> None:
    engine = FakeEngine()
    with serving(engine.app()) as url:
        api = start_api(engine_urls=url)
        version = api.publish("one")
        assert api.chat("hi").status_code == 200
    for stream in (False, True):
        refused = api.chat("I live in Rome", stream=stream)
        assert refused.status_code == 503
        assert int(refused.headers["retry-after"]) > 0
        assert refused.json()["error"]["code"] == "engine_unavailable"
    assert [m.content for m in api.messages() if m.role == "user"] == ["hi", "I live in Rome"]
    assert api.http.get("/readyz").json()["checks"]["engine"] == "1 of 1 not ready"
    assert api.http.get("/healthz").status_code == 200
    engine.restart()
    with serving(engine.app(), port=int(url.rsplit(":", 1)[1])):
        api.wait_until_ready()
        assert engine.adapters == {version.lora_name: version.path}
        answer = api.chat("hi again")
        assert answer.json()["choices"][0]["message"]["content"] == f"{version.lora_name}: hi again"


def test_replica_gets_no_request_before_its_live_adapters_are_loaded(start_api: StartApi) -> None:
    api = start_api()
    versions = [api.publish("one", space=name) for name in ("a", "b", "c")]
    api.wait_until(lambda: len(api.engine.adapters) == 3, what="loaded")
    api.engine.faults.down = True
    api.wait_until(lambda: api.http.get("/readyz").status_code == 503, what="down noticed")
    api.engine.restart()
    api.engine.faults.down = False
    api.wait_until_ready()
    assert set(api.engine.adapters) == {version.lora_name for version in versions}


def test_damaged_live_version_keeps_only_its_own_space_waiting(api: Api) -> None:
    api.publish("one", space="whole")
    broken = api.publish("one", space="broken", live=True)
    api.wait_until(lambda: len(api.engine.adapters) == 2, what="loaded")
    for name in ("adapter_config.json", "adapter_model.safetensors"):
        (api.home / "adapters" / broken.lora_name / name).unlink()
    api.engine.restart()
    api.wait_until(lambda: "cannot be loaded" in api.http.get("/readyz").json()["checks"]["adapters"], what="noticed")
    assert api.chat("hi", user="whole").status_code == 200
    assert api.chat("hi", user="broken").status_code == 503
    assert api.chat("hi", user="new").status_code == 200


def test_cold_versions_are_unloaded_after_the_grace_and_others_stay(start_api: StartApi) -> None:
    api = start_api(keep_versions_loaded=1)
    versions = [api.publish(word) for word in ("one", "two", "three")]
    published = api.publish("four", live=False)
    with api.database.transaction() as session:
        row = session.merge(published)
        row.status = "registered"
    api.engine.adapters |= {published.lora_name: published.path, "author-1": "/author", "sp_gone-v1-x": "/gone"}
    hot = {versions[1].lora_name, versions[2].lora_name, published.lora_name, "author-1"}
    api.wait_until(lambda: set(api.engine.adapters) == hot, what="only hot ones are left")


def test_version_is_not_unloaded_under_a_running_request(start_api: StartApi) -> None:
    api = start_api(keep_versions_loaded=0)
    first = api.publish("one")
    api.engine.faults.token_delay_s = 0.1
    api.engine.answer = "word " * 12
    with api.http.stream("POST", "/v1/chat/completions", json=body(stream=True)) as response:
        lines = response.iter_lines()
        next(lines)
        api.publish("two")
        api.publish("three")
        for _ in lines:
            assert f"unload {first.lora_name}" not in api.engine.calls
    api.wait_until(lambda: f"unload {first.lora_name}" in api.engine.calls, what="unloaded afterwards")


def body(**extra: object) -> dict[str, object]:
    return {"model": "engram", "messages": [{"role": "user", "content": "hi"}], **extra}


def test_requests_go_to_the_least_busy_of_several_engines(start_api: StartApi) -> None:
    engines = [FakeEngine(), FakeEngine()]
    with serving(engines[0].app()) as first, serving(engines[1].app()) as second:
        api = start_api(engine_urls=f"{first},{second}")
        engines[0].faults.token_delay_s = engines[1].faults.token_delay_s = 0.2
        with api.http.stream("POST", "/v1/chat/completions", json=body(stream=True)) as slow:
            lines = slow.iter_lines()  # kept: httpx closes a response whose iterator is gone
            next(lines)
            assert api.chat("meanwhile").status_code == 200
        assert [len(engine.requests) for engine in engines] == [1, 1]


def test_metrics_count_requests_by_route_and_tell_the_state(api: Api) -> None:
    api.publish("one", space="alice")
    api.chat("hi")
    api.http.get("/v1/facts/fact_0")
    text = api.http.get("/metrics").text
    assert 'engram_requests_total{method="POST",route="/v1/chat/completions",status="200"} 1.0' in text
    assert 'engram_requests_total{method="GET",route="/v1/facts/{fact_id}",status="404"} 1.0' in text
    assert 'engram_live_version{space="alice",tenant="local"} 1.0' in text
    assert 'engram_facts{status="live"} 1.0' in text
    assert 'engram_learning_runs{status="published"} 1.0' in text
    assert 'engram_chat_seconds_count{stream="false"} 1.0' in text
    assert "engram_engine_ready{" in text


def test_console_shows_versions_and_escapes_what_users_wrote(api: Api) -> None:
    api.publish("one")
    version = api.publish("two")
    with api.database.transaction() as session:
        run = RunRepository(session).by_id(version.run_id)
        run.decision = {"admitted": True, "reasons": [{"passed": True, "text": "new facts: 5 of 6 probes right"}]}
        run.error = "<script>alert(1)</script>"
        (candidate,) = RunRepository(session).candidates(run.id)
        candidate.report = {"slices": {"reliability": {"asked": 6, "right": 5}}}
    api.http.post("/v1/adapters/default/rollback", json={"reason": "wrong"})
    page = api.http.get("/ops")
    assert page.status_code == 200
    assert page.headers["x-frame-options"] == "DENY"
    panel = api.http.get("/ops/panel").text
    assert "live: version 1" in panel
    assert 'data-path="/v1/adapters/default/2/promote"' in panel
    assert 'data-path="/v1/adapters/default/rollback"' in panel
    assert "new facts: 5 of 6 probes right" in panel
    assert "reliability 5/6" in panel
    assert "<script>" not in panel
    assert "&lt;script&gt;" in panel


def test_console_shows_the_gates_checks_of_a_version_and_why_a_run_was_rejected(api: Api) -> None:
    version = api.publish("one")
    passed = Reason("new_facts", True, 1.0, 0.6, "new facts: 6 of 6 probes right")
    with api.database.transaction() as session:
        runs = RunRepository(session)
        decision = GateDecision(True, (passed,)).to_json()
        runs.by_id(version.run_id).decision = {**decision, "candidate": 0, "reason": "passed the gate"}
        rejected = runs.queue(version.space_id, [])
        rejected.status = RunStatus.RUNNING.value
        rejected.decision = {"admitted": False, "reasons": [], "reason": "no fact of <this> run can be learned"}
        runs.finish(rejected, to=RunStatus.REJECTED)
    panel = api.http.get("/ops/panel").text
    assert "new facts: 6 of 6 probes right" in panel
    assert "no fact of &lt;this&gt; run can be learned" in panel
    assert "passed the gate" not in panel  # said by the run's status


def test_console_shows_what_each_version_learned_and_which_candidate_won(api: Api) -> None:
    first, second = api.publish("I live in <b>Bergen</b>"), api.publish("My cat is 7")
    with api.database.transaction() as session:
        runs = RunRepository(session)
        for version in (first, second):
            runs.by_id(version.run_id).decision = {"admitted": True, "reasons": [], "candidate": 0}
    versions, runs_shown = api.http.get("/ops/panel").text.split("Learning runs")
    rows = versions.split("<tr>")[2:]
    assert ["My cat is 7" in row for row in rows] == [True, False]
    assert ["I live in &lt;b&gt;Bergen&lt;/b&gt;" in row for row in rows] == [False, True]
    assert "My cat is 7" in runs_shown
    assert runs_shown.count("✓") == 2


def test_console_tells_a_candidate_that_was_stopped_early_from_a_rejected_one(api: Api) -> None:
    version = api.publish("one")
    with api.database.transaction() as session:
        (candidate,) = RunRepository(session).candidates(version.run_id)
        candidate.report = None
        candidate.decision = not_examined("stopped after 4 steps").to_json()
    panel = api.http.get("/ops/panel").text
    assert "stopped early" in panel
    assert f'<span class="soft">{candidate.strategy}</span>' in panel


def test_keys_open_what_their_scopes_name(start_api: StartApi) -> None:
    api = start_api(auth=True)
    chat, facts, ops = api.key("chat"), api.key("facts"), api.key("chat", "facts", "ops")
    missing = api.http.get("/v1/models")
    assert (missing.status_code, missing.headers["www-authenticate"]) == (401, "Bearer")
    assert missing.json()["error"]["code"] == "invalid_api_key"
    assert api.http.get("/v1/models", headers={"Authorization": "Bearer nope"}).status_code == 401
    assert api.http.get("/v1/models", headers=chat).status_code == 200
    for path, headers, status in [
        ("/v1/facts", chat, 403),
        ("/v1/facts", facts, 200),
        ("/v1/models", facts, 403),
        ("/v1/adapters", facts, 403),
        ("/v1/audit", chat, 403),
        ("/metrics", chat, 403),
        ("/ops/panel", chat, 403),
        ("/ops/panel", ops, 200),
        ("/v1/adapters", ops, 200),
        ("/metrics", ops, 200),
        ("/readyz", {}, 200),
    ]:
        assert api.http.get(path, headers=headers).status_code == status, path
    pinned = api.http.post("/v1/chat/completions", json={**body(), "model": "engram@0"}, headers=chat)
    assert (pinned.status_code, pinned.json()["error"]["code"]) == (403, "insufficient_scope")


def test_tenants_never_see_each_others_rows(start_api: StartApi) -> None:
    api = start_api(auth=True)
    mine, theirs = api.key("chat", "facts", "ops"), api.key("chat", "facts", "ops", tenant="rival")
    api.publish("one", tenant="acme")
    fact = api.http.get("/v1/facts", headers=mine).json()["data"][0]["id"]
    run = api.http.get("/v1/learning-runs", headers=mine).json()["data"][0]["id"]
    assert api.http.get(f"/v1/facts/{fact}", headers=mine).status_code == 200
    assert api.http.get(f"/v1/learning-runs/{run}", headers=mine).status_code == 200
    assert api.http.get("/v1/adapters/default/1", headers=mine).status_code == 200
    reason = {"reason": "x"}
    for method, path, sent in [
        ("GET", f"/v1/facts/{fact}", None),
        ("PATCH", f"/v1/facts/{fact}", {"statement": "mine now"}),
        ("DELETE", f"/v1/facts/{fact}", None),
        ("GET", f"/v1/learning-runs/{run}", None),
        ("GET", f"/v1/learning-runs/{run}/events", None),
        ("GET", "/v1/adapters/default/1", None),
        ("GET", "/v1/adapters/default/1/export", None),
        ("POST", "/v1/adapters/default/rollback", reason),
        ("POST", "/v1/adapters/default/0/promote", reason),
    ]:
        assert api.http.request(method, path, json=sent, headers=theirs).status_code == 404, (method, path)
    assert api.http.get("/v1/facts", headers=theirs).json()["data"] == []
    assert api.http.get("/v1/learning-runs", headers=theirs).json()["data"] == []
    assert api.http.get("/v1/audit", headers=theirs).json()["data"] == []
    answer = api.http.post("/v1/chat/completions", json=body(), headers=theirs)
    assert answer.headers["x-engram-adapter-version"] == "0"
    assert "one" not in api.http.get("/ops/panel", headers=theirs).text.split("nothing")[0]


def test_server_refuses_to_be_open_to_the_network_without_auth(settings: Settings) -> None:
    for host in ("0.0.0.0", "10.1.2.3", "::", "example.org"):
        with pytest.raises(UnsafeAddress):
            create_app(settings.model_copy(update={"host": host}))
    create_app(settings.model_copy(update={"host": "0.0.0.0", "auth": True}))


def test_readiness_names_the_part_that_fails(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> bool:
        raise ConnectionRefusedError

    monkeypatch.setattr(api.doorbell, "is_alive", refuse)
    answer: httpx.Response = api.http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["checks"]["queue"] == "cannot be reached: ConnectionRefusedError"
    assert answer.json()["checks"]["database"] == "ok"
