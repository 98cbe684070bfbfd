"""The `engram` command: puts the commands together and turns errors into one line. Decides nothing."""

import secrets
import subprocess
import sys
from typing import Annotated, NoReturn

import typer
from pydantic import ValidationError

from cli import adapters, facts, runs
from cli.client import CliError
from cli.engine import LOOPBACK
from cli.options import DEFAULT_SPACE, AsJson, Key, Space, Url, open_api
from cli.output import console, errors
from cli.status import show_status
from engram.db import Database
from engram.errors import EngramError
from engram.migrate import upgrade
from engram.repositories import OpsRepository
from engram.settings import Settings

SCOPES = ("chat", "facts", "ops")
PASS_THROUGH = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}

app = typer.Typer(
    help="Engram: told once in chat, remembered from the weights.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
keys_app = typer.Typer(help="API keys.", no_args_is_help=True)
author_app = typer.Typer(help="The adapter that writes study notes.", no_args_is_help=True)
encoder_app = typer.Typer(help="The adapter that reads wordings of a question alike.", no_args_is_help=True)
supersession_app = typer.Typer(help="Which earlier fact a new statement replaces.", no_args_is_help=True)
app.add_typer(facts.app, name="facts")
app.add_typer(runs.app, name="runs")
app.add_typer(adapters.app, name="adapters")
app.command()(adapters.rollback)
app.command()(adapters.promote)
app.add_typer(keys_app, name="keys")
app.add_typer(author_app, name="author")
app.add_typer(encoder_app, name="encoder")
app.add_typer(supersession_app, name="supersession")


@app.command()
def up() -> None:
    """Start the whole product and keep it running: vLLM, server, worker. Settings are ENGRAM_* variables."""
    from cli.up import run

    raise typer.Exit(run(Settings(), console=console))


@app.command()
def engine(
    host: Annotated[str, typer.Option(help="Address to listen on: loopback, or a private network.")] = LOOPBACK,
) -> None:
    """Run one vLLM replica alone, as `engram up` would start it. For machines that serve nothing else."""
    from cli.up import become_engine

    become_engine(Settings(), host=host, console=console)


@app.command()
def migrate() -> None:
    """Bring the database to this version's tables."""
    settings = Settings()
    upgrade(settings)
    console.print("the database is up to date")


@app.command()
def status(url: Url, key: Key = None, space: Space = DEFAULT_SPACE, as_json: AsJson = False) -> None:
    """Whether Engram is ready, and what a space holds. Exit code 1 if it is not ready."""
    raise typer.Exit(show_status(open_api(url, key=key, space=space), as_json=as_json))


@app.command()
def chat(
    message: str,
    url: Url,
    key: Key = None,
    space: Space = DEFAULT_SPACE,
    model: Annotated[str, typer.Option(help="engram, engram@<version> or base.")] = "engram",
) -> None:
    """Say one thing in a new conversation; the answer is printed as it comes."""
    messages = [{"role": "user", "content": message}]
    for piece in open_api(url, key=key, space=space).stream_chat(messages, model=model):
        print(piece, end="", flush=True)
    print()


@app.command()
def demo(
    url: Annotated[
        str | None,
        typer.Option(envvar="ENGRAM_URL", help="A running Engram. Without it one is started, and stopped at the end."),
    ] = None,
    key: Key = None,
) -> None:
    """Tell Engram three facts, watch it learn, ask in new conversations, roll back, promote."""
    from cli.demo import run_demo

    raise typer.Exit(run_demo(url or None, key=key, console=console))


@keys_app.command("create")
def create_key(
    tenant: Annotated[str, typer.Option(help="Whose key it is.")],
    scopes: Annotated[str, typer.Option(help="Comma-separated out of chat, facts, ops.")] = "chat,facts",
    name: Annotated[str, typer.Option(help="To know it by later.")] = "",
) -> None:
    """Make an API key and print it once; only its digest is stored. Writes to the database directly."""
    chosen = [scope.strip() for scope in scopes.split(",") if scope.strip()]
    if not chosen or not set(chosen) <= set(SCOPES):
        raise CliError(f"--scopes must name some of {', '.join(SCOPES)}, not {scopes!r}")
    settings = Settings()
    upgrade(settings)
    secret = f"ek-{secrets.token_urlsafe(32)}"
    database = Database(settings.resolved_database_url)
    with database.transaction() as session:
        ops = OpsRepository(session)
        key = ops.add_key(tenant=tenant, name=name or tenant, secret=secret, scopes=chosen)
        ops.record(tenant=tenant, actor="cli", action="key.create", subject=key.id, new={"scopes": chosen})
    database.dispose()
    print(secret)


@author_app.command("train", context_settings=PASS_THROUGH)
def author_train(context: typer.Context) -> None:
    """Train the author adapter again from the examples. Options go to `python -m worker.author.train`."""
    raise typer.Exit(_delegate("worker.author.train", context.args))


@encoder_app.callback()
def encoder_root() -> None:
    """The adapter that reads wordings of a question alike."""


@encoder_app.command("train", context_settings=PASS_THROUGH)
def encoder_train(context: typer.Context) -> None:
    """Train the question encoder again from the examples. Options go to `python -m worker.encoder.train`."""
    raise typer.Exit(_delegate("worker.encoder.train", context.args))


@supersession_app.callback()
def supersession_root() -> None:
    """The classifier that tells which earlier fact a new statement replaces."""


@supersession_app.command("train", context_settings=PASS_THROUGH)
def supersession_train(context: typer.Context) -> None:
    """Train a cross-encoder for it from the pairs. Options go to `python -m worker.supersession.train`."""
    raise typer.Exit(_delegate("worker.supersession.train", context.args))


@supersession_app.command("examine", context_settings=PASS_THROUGH)
def supersession_examine(context: typer.Context) -> None:
    """What a judge finds in the held-out pairs, by bound. Options go to `python -m worker.supersession.examine`."""
    raise typer.Exit(_delegate("worker.supersession.examine", context.args))


@app.command("base-answers", context_settings=PASS_THROUGH)
def base_answers(context: typer.Context) -> None:
    """Have the embedded base answer its anchors anew. Options go to `python -m worker.base_answers`."""
    raise typer.Exit(_delegate("worker.base_answers", context.args))


@app.command("eval", context_settings=PASS_THROUGH)
def evaluate(context: typer.Context) -> None:
    """Measure Engram. Options go to `python -m evals.main`."""
    raise typer.Exit(_delegate("evals.main", context.args))


@app.command("bench", context_settings=PASS_THROUGH)
def bench(context: typer.Context) -> None:
    """Measure Engram's speed. Options go to `python -m evals.bench.main`."""
    raise typer.Exit(_delegate("evals.bench.main", context.args))


def _delegate(module: str, arguments: list[str]) -> int:
    return subprocess.run([sys.executable, "-m", module, *arguments], check=False).returncode


def main() -> None:
    try:
        app()
    except CliError as error:
        _fail(str(error))
    except EngramError as error:
        _fail(error.message)
    except ValidationError as error:  # of Settings: everything else that is typed is the server's to judge
        _fail("; ".join(_setting_error(detail["loc"], detail["msg"]) for detail in error.errors()))
    except KeyboardInterrupt:
        sys.exit(130)


def _setting_error(location: tuple[int | str, ...], message: str) -> str:
    name = f"ENGRAM_{str(location[0]).upper().removeprefix('ENGRAM_')}"
    return f"{'PORT or ENGRAM_PORT' if name.endswith('_PORT') else name}: {message}"


def _fail(message: str) -> NoReturn:
    errors.print(f"engram: {message}", style="red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
