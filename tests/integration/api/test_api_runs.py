"""Learning runs over HTTP: started once, watched as they go."""

import json
import threading
import time

from sqlalchemy import select

from engram.ids import new_id
from engram.lifecycle import FactStatus, RunStatus
from engram.models import Candidate, Fact, LearningRun
from engram.repositories import RunRepository
from tests.integration.api.conftest import Api, StartApi


def queue_run(api: Api) -> str:
    api.http.post("/v1/facts", json={"statement": "My cat is called Miso."})
    response = api.http.post("/v1/learning-runs", json={})
    assert response.status_code == 202, response.text
    return str(response.json()["id"])


def report(api: Api, run_id: str, event: str, *, finish: bool = False) -> None:
    with api.database.transaction() as session:
        runs = RunRepository(session)
        runs.add_event(run_id, event, {"stage": event})
        if finish:
            run = runs.by_id(run_id)
            run.status = RunStatus.RUNNING.value
            runs.finish(run, to=RunStatus.REJECTED)


def test_run_takes_the_oldest_pending_facts_once(start_api: StartApi) -> None:
    api = start_api(max_facts_per_run=2, facts_per_shard=0, learn_automatically=False)
    for number in range(3):
        api.http.post("/v1/facts", json={"statement": f"Fact number {number}."})
    assert api.rung() == []
    started = api.http.post("/v1/learning-runs", json={"space": "default"})
    run = started.json()
    assert (started.status_code, run["status"], len(run["fact_ids"])) == (202, "queued", 2)
    with api.database.read() as session:
        statuses = list(session.scalars(select(Fact.status).order_by(Fact.id)))
    assert statuses == ["learning", "learning", "pending"]
    again = api.http.post("/v1/learning-runs")
    assert (again.status_code, again.json()["id"]) == (200, run["id"])
    assert {name for name, _ in api.rung()} == {"learn"}


def test_nothing_pending_is_a_conflict(api: Api) -> None:
    for body in ({}, {"space": "default"}):
        response = api.http.post("/v1/learning-runs", json=body)
        assert (response.status_code, response.json()["error"]["code"]) == (409, "conflict")
    assert api.http.post("/v1/learning-runs", json={"space": "nobody"}).status_code == 404


def test_consolidation_is_queued_where_something_is_live_and_takes_no_pending_fact(api: Api) -> None:
    api.http.post("/v1/facts", json={"statement": "My cat is called Miso."})
    wanted = {"kind": "consolidate"}
    assert api.http.post("/v1/learning-runs", json=wanted).status_code == 409
    with api.database.transaction() as session:
        (fact,) = session.scalars(select(Fact))
        fact.status = FactStatus.LIVE
    started = api.http.post("/v1/learning-runs", json=wanted)
    run = started.json()
    assert (started.status_code, run["kind"], run["fact_ids"]) == (202, "consolidate", [])
    assert api.http.post("/v1/learning-runs", json={"kind": "rebuild"}).status_code == 400


def test_many_who_ask_at_once_get_one_run(api: Api) -> None:
    api.http.post("/v1/facts", json={"statement": "My cat is called Miso."})
    codes: list[int] = []
    threads = [
        threading.Thread(target=lambda: codes.append(api.http.post("/v1/learning-runs").status_code)) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [200] * 7 + [202]


def test_run_shows_candidates_report_and_decision(api: Api) -> None:
    run_id = queue_run(api)
    decision = {"admitted": False, "reasons": [{"check": "kl", "passed": False, "text": "too far"}]}
    with api.database.transaction() as session:
        run = session.get(LearningRun, run_id)
        assert run is not None
        run.decision, run.seconds, run.stage = decision, {"train": 9.5}, "probe"
        candidate = {"notes": [{"family": "qa", "prompt": "p", "answer": "a"}], "settings": {"learning_rate": 1e-3}}
        report_ = {"slices": {"reliability": {"asked": 2, "right": 1}}}
        session.add(
            Candidate(
                id=new_id("cand"),
                run_id=run_id,
                index=0,
                strategy="rewrites",
                report=report_,
                decision=decision,
                **candidate,
            )
        )
    run_body = api.http.get(f"/v1/learning-runs/{run_id}").json()
    assert (run_body["decision"], run_body["seconds"], run_body["stage"]) == (decision, {"train": 9.5}, "probe")
    assert run_body["candidates"][0]["report"] == report_
    assert run_body["candidates"][0]["notes"][0]["family"] == "qa"
    listed = api.http.get("/v1/learning-runs", params={"status": "queued"}).json()["data"]
    assert [run["id"] for run in listed] == [run_id]
    assert api.http.get("/v1/learning-runs", params={"status": "failed"}).json()["data"] == []


def test_progress_streams_as_it_happens_and_ends_with_the_run(api: Api) -> None:
    run_id = queue_run(api)
    report(api, run_id, "training")
    ids, events, arrived = [], [], []
    with api.http.stream("GET", f"/v1/learning-runs/{run_id}/events") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        for line in response.iter_lines():
            if line.startswith("id: "):
                ids.append(line[4:])
            if line.startswith("event: "):
                events.append(line[7:])
                arrived.append(time.monotonic())
                if events == ["training"]:
                    report(api, run_id, "finished", finish=True)
            if line.startswith("data: "):
                assert json.loads(line[6:]) == {"stage": events[-1]}
    assert events == ["training", "finished"]
    assert arrived[1] - arrived[0] < 3
    resumed = api.http.get(f"/v1/learning-runs/{run_id}/events", headers={"Last-Event-ID": ids[0]})
    assert ids[1] in resumed.text
    assert ids[0] not in resumed.text
    nothing_left = api.http.get(f"/v1/learning-runs/{run_id}/events", headers={"Last-Event-ID": ids[1]})
    assert nothing_left.status_code == 204
