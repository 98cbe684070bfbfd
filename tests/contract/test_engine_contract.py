"""The fake engine keeps to the contract; tests/e2e holds the real one to the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.engine_contract import EngineContract
from tests.fakes.engine import FakeEngine
from tests.fakes.serving import serving


class TestFakeEngine(EngineContract):
    @pytest.fixture
    def engine_url(self) -> Iterator[str]:
        with serving(FakeEngine().app()) as url:
            yield url

    @pytest.fixture
    def adapter(self, tmp_path: Path) -> Path:
        (tmp_path / "adapter_config.json").write_text("{}")
        return tmp_path
