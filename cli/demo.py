"""Show the whole loop: tell three facts, watch them be learned, ask, roll back, ask, promote, ask. `engram demo`."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from rich.console import Console
from rich.table import Table
from rich.text import Text

from cli.adapters import live_version
from cli.background import running_engram
from cli.client import Api, CliError, Json, open_api, segment
from cli.up import teller
from cli.watch import watch
from engram.grading import is_right

LEARN_TIMEOUT_S = 900.0
# How long a ledger with a fact must lie still before learning counts as over: others come a moment later.
QUIET_S = 12.0
MAX_ANSWER_TOKENS = 48
UNSETTLED = ("pending", "learning")


@dataclass(frozen=True, slots=True)
class Told:
    """What is said, what is asked later, and the gold answers."""

    message: str
    question: str
    answers: tuple[str, ...]


FACTS = (
    Told("Hi! We just got a puppy. My dog is called Biscuit.", "What is the name of my dog?", ("Biscuit",)),
    Told("By the way, I am allergic to peanuts.", "What am I allergic to?", ("peanuts", "peanut")),
    Told(
        "My daughter Clara was born on 14 March.",
        "When is my daughter's birthday?",
        ("14 March", "14th March", "14th of March", "March 14", "March 14th"),
    ),
)


@dataclass(slots=True)
class Round:
    """Answers to all questions at one moment."""

    title: str
    answers: list[str] = field(default_factory=list)


def run_demo(url: str | None, *, key: str | None, console: Console) -> int:
    """Run the demo; 0 if everything that was learned was answered, forgotten and answered again as expected."""
    with running_engram(url, console=console) as address:
        api = open_api(address, key=key, space=f"demo-{time.strftime('%Y%m%d-%H%M%S')}")
        rounds = play(api, console)
    console.print(result_table(rounds))
    num_right = sum(is_right(answer, told.answers) for told, answer in zip(FACTS, rounds[1].answers, strict=True))
    console.print(f"remembered from the weights: {num_right} of {len(FACTS)}", highlight=False)
    return 0 if num_right == len(FACTS) else 1


def play(api: Api, console: Console) -> list[Round]:
    """The story, in order. Returns the four rounds of answers."""
    say = teller(console)
    say(f"\n1. Telling three facts in one conversation (space {api.space})\n", style="bold")
    converse(api, say)
    say("\n2. Learning them\n", style="bold")
    started_at = time.monotonic()
    learn(api, console)
    learned = live_version(api.items("/v1/adapters", space=api.space))
    if learned == 0:
        raise CliError(f"nothing was published for space {api.space}; see `engram runs --space {api.space}`")
    say(f"\nversion {learned} is live, {time.monotonic() - started_at:.0f} s after the last message")
    say("\n3. Asking in new conversations, with nothing added to the prompt\n", style="bold")
    rounds = [ask(api, "base model", model="base"), ask(api, f"after learning (v{learned})")]
    say("4. Rolling back to the version before, asking again\n", style="bold")
    move(api, "rollback", {"to": 0, "reason": "demo: take it back"})
    rounds.append(ask(api, "after rollback (v0)"))
    say(f"5. Promoting version {learned}, asking again\n", style="bold")
    move(api, f"{learned}/promote", {"reason": "demo: bring it back"})
    rounds.append(ask(api, f"after promote (v{learned})"))
    return rounds


def converse(api: Api, say: Callable[[str], None]) -> None:
    """One conversation that grows, as a chat client's does."""
    messages: list[Json] = []
    for told in FACTS:
        messages.append({"role": "user", "content": told.message})
        answer = answer_of(api.chat(messages, model="engram", max_tokens=MAX_ANSWER_TOKENS))
        messages.append({"role": "assistant", "content": answer})
        say(f"   you:    {told.message}")
        say(f"   Engram: {one_line(answer)}")


def learn(api: Api, console: Console) -> None:
    """Show every learning run of the space until its facts are settled. Raises CliError after a long time."""
    watched: set[str] = set()
    deadline = time.monotonic() + LEARN_TIMEOUT_S
    quiet_since = time.monotonic()
    num_facts = 0
    while time.monotonic() < deadline:
        for run in reversed(api.items("/v1/learning-runs", space=api.space)):
            if run["id"] not in watched:
                watched.add(run["id"])
                watch(api, run["id"], console=console)
                quiet_since = time.monotonic()
        facts = api.items("/v1/facts", space=api.space)
        # A worker that has just been installed first has the base answer its anchors: nothing is read for minutes.
        if not facts or len(facts) > num_facts or any(fact["status"] in UNSETTLED for fact in facts):
            num_facts, quiet_since = len(facts), time.monotonic()
        all_told = num_facts >= len(FACTS)
        if time.monotonic() - quiet_since > (1.0 if all_told else QUIET_S) and (watched or not all_told):
            return
        time.sleep(0.5)
    raise CliError(f"the facts of space {api.space} were not settled within {LEARN_TIMEOUT_S:.0f} s")


def ask(api: Api, title: str, *, model: str = "engram") -> Round:
    """Every question, each in a conversation of its own."""
    done = Round(title)
    for told in FACTS:
        messages: list[Json] = [{"role": "user", "content": told.question}]
        done.answers.append(answer_of(api.chat(messages, model=model, max_tokens=MAX_ANSWER_TOKENS)))
    return done


def move(api: Api, action: str, body: Json) -> None:
    api.post(f"/v1/adapters/{segment(api.space)}/{action}", body)


def result_table(rounds: Sequence[Round]) -> Table:
    """A row a fact, a column a moment; ✓ where the answer holds the fact."""
    table = Table(title="Told once, remembered from the weights", show_lines=True)
    for title in ("told", "asked in a new conversation", *(done.title for done in rounds)):
        table.add_column(title, overflow="fold")
    for row, told in enumerate(FACTS):
        table.add_row(told.message, told.question, *(_marked(done.answers[row], told) for done in rounds))
    return table


def answer_of(completion: Json) -> str:
    return str(completion["choices"][0]["message"]["content"] or "")


def one_line(text: str, *, width: int = 100) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= width else joined[: width - 1] + "…"


def _marked(answer: str, told: Told) -> Text:
    right = is_right(answer, told.answers)
    return Text(f"{'✓' if right else '✗'} {one_line(answer)}", style="green" if right else "red")
