"""The evaluations in this process share their options, and say what is wrong with what they are given."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from evals import main as evals_main
from evals.main import app

IN_PROCESS = ("stream", "update", "forget", "leak", "gate", "capacity")
TELLING = tuple(name for name in IN_PROCESS if name != "gate")


@pytest.mark.parametrize("command", IN_PROCESS)
def test_every_evaluation_can_be_seeded_resumed_and_written(command: str) -> None:
    shown = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output
    assert all(option in shown for option in ("--path", "--seed", "--resume", "--json", "--markdown"))


@pytest.mark.parametrize("command", TELLING)
def test_set_that_is_not_shipped_wants_a_path(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--dataset", "zsre"])
    assert result.exit_code == 2
    assert "give its file with --path" in " ".join(result.output.split())


@pytest.mark.parametrize("command", IN_PROCESS)
def test_file_of_another_format_ends_in_one_line(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "set.jsonl"
    path.write_text('{"fact": "that cats purr?"}\n')
    monkeypatch.setattr("sys.argv", ["evals", command, "--path", str(path), "--resume", str(tmp_path / "state")])
    with pytest.raises(SystemExit) as ended:
        evals_main.main()
    assert ended.value.code == 1
    assert "row 1 is no told-once" in " ".join(capsys.readouterr().out.split())
