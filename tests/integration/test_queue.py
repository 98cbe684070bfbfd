"""The doorbell on a SQLite file and on Redis: what is rung is answered, in order, also after a restart."""

import queue
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis
from huey.signals import SIGNAL_ERROR

from engram.queue import Doorbell, open_doorbell
from engram.settings import Settings

ANSWER_TIMEOUT_S = 10.0


@contextmanager
def _consumer(doorbell: Doorbell) -> Iterator[None]:
    """A huey consumer thread. It takes over the signal handlers, which the tests need themselves."""
    handlers = {signum: signal.getsignal(signum) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    consumer = doorbell.huey.create_consumer(workers=1, periodic=False, initial_delay=0.01, max_delay=0.05)
    consumer.start()
    try:
        yield
    finally:
        consumer.stop(graceful=True)
        for signum, handler in handlers.items():
            signal.signal(signum, handler)


def _answer_into(doorbell: Doorbell) -> "queue.Queue[tuple[str, str]]":
    answered: queue.Queue[tuple[str, str]] = queue.Queue()
    doorbell.answer(
        extract=lambda row_id: answered.put(("extract", row_id)), learn=lambda row_id: answered.put(("learn", row_id))
    )
    return answered


def test_what_is_rung_reaches_the_consumer_with_its_id(doorbell: Doorbell) -> None:
    answered = _answer_into(doorbell)
    with _consumer(doorbell):
        doorbell.extract("msg_1")
        assert answered.get(timeout=ANSWER_TIMEOUT_S) == ("extract", "msg_1")
        doorbell.learn("sp_1")
        assert answered.get(timeout=ANSWER_TIMEOUT_S) == ("learn", "sp_1")


def test_extraction_goes_before_learning_and_each_in_order(doorbell: Doorbell) -> None:
    answered = _answer_into(doorbell)
    doorbell.learn("sp_1")
    doorbell.extract("msg_1")
    doorbell.learn("sp_2")
    doorbell.extract("msg_2")
    with _consumer(doorbell):
        got = [answered.get(timeout=ANSWER_TIMEOUT_S) for _ in range(4)]
    assert got == [("extract", "msg_1"), ("extract", "msg_2"), ("learn", "sp_1"), ("learn", "sp_2")]


def test_jobs_wait_in_a_queue_that_is_closed_and_opened_again(queue_url: str, tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home", queue_url=queue_url)
    first = open_doorbell(settings)
    first.extract("msg_1")
    first.huey.storage.close()
    second = open_doorbell(settings)
    answered = _answer_into(second)
    with _consumer(second):
        assert answered.get(timeout=ANSWER_TIMEOUT_S) == ("extract", "msg_1")
    second.huey.storage.close()


def test_a_job_is_answered_once(doorbell: Doorbell) -> None:
    answered = _answer_into(doorbell)
    doorbell.extract("msg_1")
    with _consumer(doorbell):
        assert answered.get(timeout=ANSWER_TIMEOUT_S) == ("extract", "msg_1")
    with _consumer(doorbell), pytest.raises(queue.Empty):
        answered.get(timeout=0.3)


def test_the_consumer_goes_on_after_a_job_that_nobody_answers(doorbell: Doorbell) -> None:
    failed: queue.Queue[str] = queue.Queue()
    answered: queue.Queue[str] = queue.Queue()
    doorbell.huey.signal(SIGNAL_ERROR)(lambda _signal, task, _error: failed.put(task.args[0]))
    with _consumer(doorbell):
        doorbell.extract("msg_lost")
        assert failed.get(timeout=ANSWER_TIMEOUT_S) == "msg_lost"
        doorbell.answer(extract=answered.put, learn=answered.put)
        doorbell.learn("sp_1")
        assert answered.get(timeout=ANSWER_TIMEOUT_S) == "sp_1"


def test_the_consumer_goes_on_after_a_handler_that_raises(doorbell: Doorbell) -> None:
    answered: queue.Queue[str] = queue.Queue()

    def fail(_: str) -> None:
        raise RuntimeError("out of memory")

    doorbell.answer(extract=fail, learn=answered.put)
    with _consumer(doorbell):
        doorbell.extract("msg_1")
        doorbell.learn("sp_1")
        assert answered.get(timeout=ANSWER_TIMEOUT_S) == "sp_1"


def test_the_queue_says_that_it_is_alive(doorbell: Doorbell) -> None:
    doorbell.learn("sp_1")
    assert doorbell.is_alive()


def test_a_redis_that_is_gone_is_not_alive(settings: Settings) -> None:
    settings.queue_url = "redis://127.0.0.1:1/0"
    with pytest.raises(redis.ConnectionError):
        open_doorbell(settings).is_alive()
