"""Settings: where they come from and what follows from them."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from engram.settings import Settings


def test_all_state_is_under_home(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/engram.db"
    places = (settings.queue_path, settings.adapters_dir, settings.models_dir, settings.logs_dir)
    assert all(place.is_relative_to(tmp_path) for place in places)
    assert len(set(places)) == len(places)


def test_a_relative_home_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ENGRAM_HOME", "state")
    settings = Settings()
    assert settings.adapters_dir == tmp_path / "state" / "adapters"
    assert settings.resolved_database_url == f"sqlite:///{tmp_path}/state/engram.db"


def test_a_named_database_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENGRAM_DATABASE_URL", "postgresql+psycopg://u:p@db/engram")
    assert Settings().resolved_database_url == "postgresql+psycopg://u:p@db/engram"


def test_the_port_is_read_from_port_and_engram_port_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert Settings().port == 8000
    monkeypatch.setenv("PORT", "9001")
    assert Settings().port == 9001
    monkeypatch.setenv("ENGRAM_PORT", "9002")
    assert Settings().port == 9002


def test_no_other_unprefixed_variable_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HOST", "MODEL", "HOME_", "DEVICE", "SEED"):
        monkeypatch.setenv(name, "7")
    assert Settings() == Settings(host="127.0.0.1", model="", device="auto", seed=0)


@pytest.mark.parametrize(
    ("name", "value"),
    [("ENGRAM_PORT", "eighty"), ("ENGRAM_DTYPE", "int3"), ("ENGRAM_DEVICE", "tpu"), ("ENGRAM_AUTH", "perhaps")],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError, match="(?i)" + name.removeprefix("ENGRAM_")):
        Settings()


def test_engines_are_listed_without_blanks_or_trailing_slashes() -> None:
    assert Settings(engine_urls=" http://a:1/ ,,http://b:2").engines == ["http://a:1", "http://b:2"]


def test_every_setting_explains_itself() -> None:
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert field.description.endswith("."), name
