"""Write every setting, with its default and meaning, into .env.example and docs/operations.md.

    .venv/bin/python scripts/document_settings.py

A test fails while either file differs from what this would write.
"""

from collections.abc import Iterator
from pathlib import Path

from engram.settings import Settings

ROOT = Path(__file__).resolve().parent.parent
ENV_EXAMPLE = ROOT / ".env.example"
OPERATIONS = ROOT / "docs" / "operations.md"
BEGIN, END = "<!-- settings: begin -->", "<!-- settings: end -->"
HOME = str(Path.home())


def documented() -> Iterator[tuple[str, str, str]]:
    """Name, default and description of each setting, in the order of `Settings`."""
    for name, field in Settings.model_fields.items():
        default = field.default
        text = str(default).lower() if isinstance(default, bool) else str(default).replace(HOME, "~")
        yield f"ENGRAM_{name.upper()}", text, field.description or ""


def env_example() -> str:
    lines = ["# Every setting of Engram with its default. Set what you change; delete the rest.", ""]
    for name, default, description in documented():
        lines += [f"# {description}", f"# {name}={default}", ""]
    return "\n".join(lines)


def operations_table() -> str:
    rows = [f"| `{name}` | {f'`{default}`' if default else ''} | {text} |" for name, default, text in documented()]
    return "\n".join(["| setting | default | meaning |", "| --- | --- | --- |", *rows]).replace("||", "\\|\\|")


def with_table(document: str) -> str:
    """`document` with the table between its two marks. Raises ValueError where a mark is missing."""
    before, rest = document.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}\n{operations_table()}\n{END}{after}"


if __name__ == "__main__":
    ENV_EXAMPLE.write_text(env_example())
    OPERATIONS.write_text(with_table(OPERATIONS.read_text()))
