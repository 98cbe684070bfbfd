"""Versions change while people chat: no answer fails, and none comes from another version than it says."""

import threading

from engram.models import Space
from tests.integration.api.conftest import Api, StartApi

MOVES = 25


def test_no_answer_fails_or_comes_from_a_wrong_version_while_versions_change(api: Api) -> None:
    names = {"0": "base", "1": api.publish("fact 1").lora_name}
    problems: list[str] = []
    seen: set[str] = set()
    stop = threading.Event()

    def talk(stream: bool) -> None:
        while not stop.is_set():
            answer = api.chat("hi", stream=stream)
            version = answer.headers.get("x-engram-adapter-version", "none")
            seen.add(version)
            if stream:
                # Only the engine knows the adapter that answered: its first word is that name.
                wrong = f'"content": "{names.get(version)}:"' not in answer.text
            else:
                wrong = answer.json()["choices"][0]["message"]["content"] != f"{names.get(version)}: hi"
            if answer.status_code != 200 or wrong:
                problems.append(f"{answer.status_code} {version} {answer.text[:200]}")

    threads = [threading.Thread(target=talk, args=(number % 2 == 0,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for number in range(2, 2 + MOVES):
        version = api.publish(f"fact {number}", live=False)
        names[str(version.version)] = version.lora_name
        moved = api.http.post(f"/v1/adapters/default/{version.version}/promote", json={"reason": "next"})
        back = api.http.post("/v1/adapters/default/rollback", json={"reason": "back"})
        again = api.http.post(f"/v1/adapters/default/{version.version}/promote", json={"reason": "again"})
        assert [moved.status_code, back.status_code, again.status_code] == [200, 200, 200], back.text
    stop.set()
    for thread in threads:
        thread.join()
    assert problems == []
    assert len(seen) > MOVES / 2


def test_canary_answers_its_share_and_stays_on_its_side_of_a_conversation(start_api: StartApi) -> None:
    api = start_api(canary_share=0.5)
    api.publish("one")
    canary = api.publish("two", live=False)
    with api.database.transaction() as session:
        space = session.get(Space, canary.space_id)
        assert space is not None
        space.canary_version = canary.version
        session.merge(canary).status = "canary"
    versions = set()
    for number in range(24):
        said = [{"role": "user", "content": f"number {number}"}]
        first = api.http.post("/v1/chat/completions", json={"model": "engram", "messages": said})
        said += [first.json()["choices"][0]["message"], {"role": "user", "content": "and then?"}]
        second = api.http.post("/v1/chat/completions", json={"model": "engram", "messages": said})
        assert first.headers["x-engram-adapter-version"] == second.headers["x-engram-adapter-version"]
        versions.add(first.headers["x-engram-adapter-version"])
    assert versions == {"1", "2"}
