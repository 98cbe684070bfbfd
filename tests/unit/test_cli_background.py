"""A fresh Engram for a demo or an evaluation shares nothing with another one but the models."""

from pathlib import Path

import pytest

from cli.background import fresh_settings, share_models
from cli.preflight import free_ports


def test_fresh_engram_takes_over_no_address_database_or_queue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", "8000")
    monkeypatch.setenv("ENGRAM_HOST", "0.0.0.0")
    monkeypatch.setenv("ENGRAM_AUTH", "true")
    monkeypatch.setenv("ENGRAM_DATABASE_URL", "postgresql+psycopg://engram@db/engram")
    monkeypatch.setenv("ENGRAM_QUEUE_URL", "redis://queue")
    monkeypatch.setenv("ENGRAM_ENGINE_URLS", "http://vllm:8001")
    monkeypatch.setenv("ENGRAM_TRAINING_STEPS", "5")
    settings = fresh_settings(tmp_path)
    assert settings.resolved_database_url == f"sqlite:///{tmp_path / 'engram.db'}"
    assert (settings.queue_url, settings.host, settings.auth) == ("", "127.0.0.1", False)
    assert settings.port != 8000
    assert settings.engines != ["http://vllm:8001"]
    assert settings.training_steps == 5, "how it learns is as the environment says"


def test_fresh_engram_uses_the_models_of_this_machines_own_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, home = tmp_path / "own", tmp_path / "fresh"
    home.mkdir()
    monkeypatch.setenv("ENGRAM_HOME", str(own))
    settings = fresh_settings(home)
    share_models(settings)
    (settings.models_dir / "base").mkdir()
    assert (own / "models" / "base").is_dir()


def test_free_ports_are_different() -> None:
    assert len(set(free_ports(20))) == 20
