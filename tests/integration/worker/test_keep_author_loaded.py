"""The author's adapter is put back into an engine that was restarted; one that dies meanwhile stops nothing."""

from collections.abc import Iterator

import httpx
import pytest

from cli.preflight import any_free_port
from engram.settings import Settings
from engram.vllm_client import EngineClient, open_engines
from tests.fakes.engine import FakeEngine
from tests.fakes.serving import serving
from worker.author.client import EngineAuthor, open_author
from worker.main import keep_author_loaded


@pytest.fixture
def fakes() -> list[FakeEngine]:
    return [FakeEngine(), FakeEngine()]


@pytest.fixture
def pair(fakes: list[FakeEngine], settings: Settings) -> Iterator[list[EngineClient]]:
    """Two replicas behind real sockets."""
    with serving(fakes[0].app()) as first, serving(fakes[1].app()) as second:
        yield open_engines(settings.model_copy(update={"engine_urls": f"{first},{second}"}))


@pytest.fixture
def opened(pair: list[EngineClient]) -> EngineAuthor:
    return open_author(pair, fits=True)


def test_restarted_engine_gets_the_author_again_and_the_other_is_left_alone(
    pair: list[EngineClient], fakes: list[FakeEngine], opened: EngineAuthor
) -> None:
    fakes[1].restart()
    keep_author_loaded(pair, opened)
    assert [list(fake.adapters) for fake in fakes] == [[opened.model]] * 2
    assert [fake.calls for fake in fakes] == [[f"load {opened.model}"], [f"load {opened.model}"] * 2]
    keep_author_loaded(pair, opened)
    assert len(fakes[1].calls) == 2


def test_engine_that_is_down_is_left_alone_until_it_is_back(
    pair: list[EngineClient], fakes: list[FakeEngine], opened: EngineAuthor
) -> None:
    fakes[0].restart()
    fakes[0].faults.down = True
    keep_author_loaded(pair, opened)
    assert fakes[0].adapters == {}
    fakes[0].faults.down = False
    keep_author_loaded(pair, opened)
    assert list(fakes[0].adapters) == [opened.model]


@pytest.mark.parametrize("fault", ["gone", "failing", "refusing"])
def test_engine_that_dies_between_the_questions_does_not_end_the_sweep(
    pair: list[EngineClient],
    fakes: list[FakeEngine],
    opened: EngineAuthor,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
) -> None:
    for fake in fakes:
        fake.restart()
    monkeypatch.setattr(EngineClient, "is_healthy", lambda _engine: True)  # it was, a moment ago
    dying = pair[0]
    if fault == "gone":
        dying = EngineClient(httpx.Client(base_url=f"http://127.0.0.1:{any_free_port()}", trust_env=False))
    elif fault == "failing":
        fakes[0].faults.down = True
    else:
        fakes[0].faults.refuse_loads = True
    keep_author_loaded([dying, pair[1]], opened)
    assert fakes[0].adapters == {}
    assert list(fakes[1].adapters) == [opened.model]
    fakes[0].faults.down = fakes[0].faults.refuse_loads = False
    keep_author_loaded(pair, opened)
    assert list(fakes[0].adapters) == [opened.model]


def test_author_without_an_adapter_of_its_own_is_always_loaded(
    pair: list[EngineClient], fakes: list[FakeEngine]
) -> None:
    keep_author_loaded(pair, open_author(pair, fits=False))
    assert [fake.calls for fake in fakes] == [[], []]
