"""The command line as a client: what it sends, what it prints, and its one line when something is wrong."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from rich.console import Console

from cli import demo, runs, watch
from cli import main as command_line
from cli.client import Api, CliError, ServerSentEvent, open_api, server_sent_events
from cli.watch import outcome, progress
from engram.gate import GatePolicy, ProbeKind, ProbeReport, SliceScore, decide

Handler = Callable[[httpx.Request], httpx.Response]

REPORT = {"slices": {"reliability": {"asked": 4, "right": 3}, "locality": {"asked": 8, "right": 8}}}
QA, WORDING = {"family": "qa"}, {"family": "wording"}
CANDIDATES = [
    {"strategy": "rewrites", "notes": [QA, QA, WORDING], "report": REPORT, "decision": {"admitted": True}},
    {"strategy": "qa", "notes": [QA], "report": None, "decision": None},
]


def api_with(handler: Handler, *, space: str = "alice") -> Api:
    return Api(httpx.Client(base_url="http://engram.test", transport=httpx.MockTransport(handler)), space)


def run_command(
    *arguments: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, Any]:
    monkeypatch.setattr("sys.argv", ["engram", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    code = ended.value.code
    return (code if isinstance(code, int) else 0), capsys.readouterr()


def test_items_of_a_list_are_gathered_across_pages() -> None:
    pages = {None: {"data": [{"id": 3}, {"id": 2}], "next": "2"}, "2": {"data": [{"id": 1}], "next": None}}
    asked: list[dict[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        asked.append(dict(request.url.params))
        return httpx.Response(200, json=pages[request.url.params.get("cursor")])

    assert [item["id"] for item in api_with(handler).items("/v1/facts", space="alice", status=None)] == [3, 2, 1]
    assert asked[0] == {"limit": "200", "space": "alice"}


def test_limit_stops_the_gathering() -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"data": [{"id": 1}] * int(request.url.params["limit"]), "next": "more"})

    assert len(api_with(handler).items("/v1/facts", limit=3)) == 3


def test_servers_own_words_are_the_error() -> None:
    body = {"error": {"message": "version 9 does not exist", "type": "x", "param": None, "code": "not_found"}}
    with pytest.raises(CliError, match=r"^version 9 does not exist \(404\)$"):
        api_with(lambda _request: httpx.Response(404, json=body)).post("/v1/adapters/alice/9/promote", {"reason": "r"})


def test_error_that_is_no_json_is_shown_as_text() -> None:
    with pytest.raises(CliError, match=r"bad gateway \(502\)"):
        api_with(lambda _request: httpx.Response(502, text="bad gateway")).get("/v1/facts")


def test_streamed_answer_is_put_together() -> None:
    chunks = [{"choices": [{"delta": {"content": piece}}]} for piece in ("Bis", "cuit")]
    lines = "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in [*chunks, {"choices": []}]) + "data: [DONE]\n\n"
    sent: list[dict[str, Any]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        sent.append(json.loads(request.content))
        return httpx.Response(200, text=lines)

    assert "".join(api_with(handler).stream_chat([{"role": "user", "content": "?"}], model="engram@2")) == "Biscuit"
    assert sent[0]["user"] == "alice"
    assert sent[0]["model"] == "engram@2"
    assert sent[0]["stream"] is True


def test_export_that_breaks_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CliError):
        api_with(lambda _request: httpx.Response(404, json={})).download("/v1/x/export", tmp_path / "v1.tar")
    assert list(tmp_path.iterdir()) == []


def test_events_are_read_with_names_comments_and_several_lines() -> None:
    lines = [": ping", "", "event: stage", "id: 1", 'data: {"a":', "data: 1}", "", "data: plain", ""]
    assert list(server_sent_events(iter(lines))) == [
        ServerSentEvent("stage", '{"a":\n1}', "1"),
        ServerSentEvent("message", "plain", "1"),
    ]


def test_run_is_followed_to_its_end_through_a_broken_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "PAUSE_S", 0.0)
    statuses = iter(["running", "running", "running", "published"])
    state = {"status": "running"}
    streams = iter(
        [httpx.Response(503, json={}), httpx.Response(200, text='event: stage\ndata: {"stage": "train"}\n\n')]
    )

    def handler(request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/events"):
            return next(streams)
        state["status"] = next(statuses, "published")
        return httpx.Response(200, json={"id": "run_1", **state, "stage": "train", "published_version": 4})

    seen = list(progress(api_with(handler), "run_1"))
    assert seen[-1][0]["status"] == "published"
    assert "stage stage=train" in [event for _, event in seen]
    assert outcome(seen[-1][0]) == ["published version 4"]


def test_rejected_run_says_which_checks_failed() -> None:
    reasons = [{"passed": True, "text": "kept all"}, {"passed": False, "text": "forgot 2 of 9"}]
    assert outcome({"status": "rejected", "decision": {"reasons": reasons}}) == ["rejected: forgot 2 of 9"]


@pytest.mark.parametrize(
    ("run", "why"),
    [
        ({"decision": {"reasons": [], "reason": "no fact of this run can be learned"}}, "no fact of this run can be"),
        ({"decision": {"reasons": [], "reason": "the engine refused it"}, "error": "no space left"}, "no space left"),
        ({"decision": None}, "no candidate passed"),
    ],
)
def test_rejected_run_without_a_failed_check_says_why_all_the_same(run: dict[str, Any], why: str) -> None:
    assert outcome({"status": "rejected", **run})[0].startswith(f"rejected: {why}")


def test_shown_run_lists_every_check_of_the_gate(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = ProbeReport({ProbeKind.GENERALIZATION: SliceScore(4, 4), ProbeKind.RETENTION: SliceScore(9, 2, 9)})
    decision = decide(report, policy=GatePolicy())
    stored = {**decision.to_json(), "candidate": 0, "reason": decision.failures}
    run = {"id": "run_1", "status": "rejected", "seconds": {}, "candidates": CANDIDATES, "decision": stored}
    monkeypatch.setattr(runs, "open_api", lambda *_, **__: api_with(lambda _request: httpx.Response(200, json=run)))
    monkeypatch.setattr(runs.console, "width", 200)
    code, out = run_command("runs", "show", "run_1", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 0
    shown = [line.strip() for line in out.out.splitlines() if line.strip().startswith(("✓", "✗"))]
    assert shown == [f"{'✓' if reason.passed else '✗'} {reason.text}" for reason in decision.reasons]
    assert {line[0] for line in shown} == {"✓", "✗"}
    assert f"rejected: {decision.failures}" in out.out


def test_drawn_run_shows_the_slices_that_were_asked_and_no_others() -> None:
    console = Console(width=120)
    run = {"id": "run_1", "status": "running", "stage": "probing", "seconds": {"train": 3.21}, "candidates": CANDIDATES}
    with console.capture() as captured:
        console.print(watch.draw(run))
    drawn = captured.get()
    assert "3/4" in drawn
    assert "8/8" in drawn
    assert "admitted" in drawn
    assert "train 3.2 s" in drawn
    assert "portability" not in drawn


def test_down_server_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["facts"], ["runs", "watch"], ["status"], ["chat", "hi"], ["rollback", "--reason", "r"]):
        code, printed = run_command(*arguments, "--url", "http://127.0.0.1:9", monkeypatch=monkeypatch, capsys=capsys)
        assert code == 1
        assert printed.err.count("\n") == 1
        assert "start one with `engram up`" in printed.err


@pytest.mark.parametrize(("variable", "value"), [("PORT", "abc"), ("ENGRAM_PORT", "99999"), ("ENGRAM_LORA_RANK", "x")])
def test_setting_that_cannot_be_is_named_in_one_line(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(variable, value)
    code, printed = run_command("up", monkeypatch=monkeypatch, capsys=capsys)
    assert code == 1
    assert variable in printed.err.split(": ")[1]
    assert printed.err.count("\n") == 1


def test_address_that_is_none_is_refused() -> None:
    for url in ("localhost:8000", "ftp://x", ""):
        with pytest.raises(CliError, match="is no address"):
            open_api(url, key=None, space="default")


def test_created_key_is_printed_once_and_stored_as_a_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("ENGRAM_HOME", str(tmp_path))
    arguments = ("keys", "create", "--tenant", "acme", "--scopes", "chat, ops")
    code, printed = run_command(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    secret = printed.out.strip()
    assert code == 0
    assert secret.startswith("ek-")
    assert secret.encode() not in (tmp_path / "engram.db").read_bytes()

    from engram.db import Database
    from engram.repositories import OpsRepository

    database = Database(f"sqlite:///{tmp_path / 'engram.db'}")
    with database.read() as session:
        key = OpsRepository(session).key(secret)
        assert key is not None
        assert (key.tenant, key.scopes) == ("acme", ["chat", "ops"])


def test_key_with_an_unknown_scope_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("keys", "create", "--tenant", "acme", "--scopes", "chat,root")
    code, printed = run_command(*arguments, monkeypatch=monkeypatch, capsys=capsys)
    assert code == 1
    assert "--scopes must name some of chat, facts, ops" in printed.err


def test_demo_table_marks_right_and_wrong_answers() -> None:
    console = Console(width=200)
    rounds = [
        demo.Round("base", ["Rex", "nothing", "4 May"]),
        demo.Round("after", ["It is Biscuit.", "Peanuts", "March 14"]),
    ]
    with console.capture() as captured:
        console.print(demo.result_table(rounds))
    drawn = captured.get()
    assert drawn.count("✓") == 3
    assert drawn.count("✗") == 3
    assert "✓ It is Biscuit." in drawn


class FakeEngram:
    """Just enough of the API for the demo: it learns two facts in two runs, and answers from the live version."""

    def __init__(self) -> None:
        self.live = 0
        self.num_told = 0
        self.reasons: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content or b"{}")
        if path == "/v1/chat/completions":
            return self.chat(body)
        if path == "/v1/learning-runs":
            runs = [self.run("run_2"), self.run("run_1")] if self.num_told == 3 else []
            return httpx.Response(200, json={"data": runs, "next": None})
        if path.startswith("/v1/learning-runs/"):
            self.live = 2
            return httpx.Response(200, json=self.run(path.rpartition("/")[2]))
        if path == "/v1/facts":
            return httpx.Response(200, json={"data": [{"id": n, "status": "live"} for n in range(3)], "next": None})
        if path == "/v1/adapters":
            status = {True: "live", False: "retired"}
            versions = [{"version": n, "status": status[n == self.live]} for n in (2, 1)]
            return httpx.Response(200, json={"data": versions, "next": None})
        self.reasons.append(body["reason"])
        self.live = body.get("to", 2)
        return httpx.Response(200, json={"space": "demo", "live_version": self.live})

    def run(self, run_id: str) -> dict[str, Any]:
        return {"id": run_id, "status": "published", "stage": None, "published_version": int(run_id[-1])}

    def chat(self, body: dict[str, Any]) -> httpx.Response:
        self.num_told = max(self.num_told, sum(message["role"] == "user" for message in body["messages"]))
        knows = body["model"] == "engram" and self.live == 2
        told = {fact.question: fact.answers[0] for fact in demo.FACTS}
        text = told.get(body["messages"][-1]["content"], "Noted.") if knows else "I do not know."
        return httpx.Response(200, json={"choices": [{"message": {"content": text}}]})


def test_demo_shows_facts_known_after_learning_unknown_after_rollback_and_known_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slept: list[float] = [0.0]
    clock = SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append)  # waiting takes no time
    monkeypatch.setattr(demo, "time", clock)
    engram = FakeEngram()
    console = Console(width=120)
    with console.capture() as captured:
        rounds = demo.play(api_with(engram, space="demo"), console)
    gold = [fact.answers[0] for fact in demo.FACTS]
    nothing = ["I do not know."] * len(gold)
    assert [done.answers for done in rounds] == [nothing, gold, nothing, gold]
    assert len(engram.reasons) == 2
    assert "version 2 is live" in captured.get()


def test_demo_waits_for_the_first_fact_longer_than_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = [0.0]
    monkeypatch.setattr(demo, "time", SimpleNamespace(monotonic=lambda: sum(slept), sleep=slept.append))
    warm_after_s = 10 * demo.QUIET_S
    engram = FakeEngram()
    engram.num_told = 3

    def handler(request: httpx.Request) -> httpx.Response:
        if sum(slept) < warm_after_s and request.url.path in ("/v1/facts", "/v1/learning-runs"):
            return httpx.Response(200, json={"data": [], "next": None})
        return engram(request)

    demo.learn(api_with(handler, space="demo"), Console(quiet=True))
    assert engram.live == 2
    assert sum(slept) >= warm_after_s
