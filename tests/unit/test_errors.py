"""Every error says what a client sees."""

import pytest

from engram import errors
from engram.errors import EngineUnavailable, EngramError
from engram.vllm_client import AdapterLoadFailed


def _all_errors(root: type[EngramError] = EngramError) -> list[type[EngramError]]:
    return [root, *(found for child in root.__subclasses__() for found in _all_errors(child))]


@pytest.mark.parametrize("error", _all_errors())
def test_an_error_has_a_status_an_openai_type_and_a_code(error: type[EngramError]) -> None:
    made = error("what happened")
    assert (made.message, str(made)) == ("what happened", "what happened")
    assert 400 <= made.status < 600
    assert (made.type == "server_error") == (made.status >= 500)
    assert made.code.replace("_", "").isalpha()


@pytest.mark.parametrize("error", [found for found in _all_errors() if found.__module__ == "engram.errors"])
def test_the_drawing_at_the_top_of_the_file_names_every_error(error: type[EngramError]) -> None:
    assert errors.__doc__ is not None
    assert error.__name__ in errors.__doc__


def test_an_engine_that_is_away_says_when_to_come_back() -> None:
    assert EngineUnavailable("restarting", retry_after_s=9).retry_after_s == 9


def test_a_load_that_failed_is_a_server_error() -> None:
    assert AdapterLoadFailed("no slot").status == 500
