"""No setting without documentation, in both places where people look."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from engram.settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def document() -> ModuleType:
    spec = importlib.util.spec_from_file_location("document_settings", ROOT / "scripts" / "document_settings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", Settings.model_fields)
def test_setting_has_a_description_and_is_named_in_both_files(name: str) -> None:
    assert Settings.model_fields[name].description
    variable = f"ENGRAM_{name.upper()}"
    assert f"# {variable}=" in (ROOT / ".env.example").read_text()
    assert f"| `{variable}` |" in (ROOT / "docs" / "operations.md").read_text()


def test_env_example_is_what_the_settings_say(document: ModuleType) -> None:
    assert (ROOT / ".env.example").read_text() == document.env_example(), "run scripts/document_settings.py"


def test_operations_table_is_what_the_settings_say(document: ModuleType) -> None:
    text = (ROOT / "docs" / "operations.md").read_text()
    assert text == document.with_table(text), "run scripts/document_settings.py"
