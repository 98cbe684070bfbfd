"""`engram status`: is it ready, and what does a space hold?"""

from collections import Counter
from typing import Any

import httpx

from cli.adapters import live_version
from cli.client import Api, CliError
from cli.output import console, print_json


def show_status(api: Api, *, as_json: bool) -> int:
    """Print readiness and one space's state; 0 if ready, else 1. Raises CliError if nothing answers."""
    readiness = read_readiness(api)
    state = {"url": str(api.http.base_url), **readiness, "space": _space_state(api)}
    if as_json:
        print_json(state)
    else:
        console.print(f"{state['url']} is {'ready' if state['ready'] else 'NOT ready'}", highlight=False)
        for name, value in state["checks"].items():
            console.print(f"  {name:10} {value}", markup=False, highlight=False)
        for name, value in state["space"].items():
            console.print(f"  {name:10} {value}", markup=False, highlight=False)
    return 0 if state["ready"] else 1


def read_readiness(api: Api) -> dict[str, Any]:
    """What /readyz says; it answers 503 while something is missing."""
    try:
        response = api.http.get("/readyz")
    except httpx.TransportError as error:
        raise CliError(f"no Engram answers at {api.http.base_url}; start one with `engram up`") from error
    try:
        body = response.json()
    except ValueError:
        body = {}
    checks = body.get("checks", body) if isinstance(body, dict) else {}
    return {"ready": response.is_success, "checks": checks}


def _space_state(api: Api) -> dict[str, Any]:
    try:
        facts = api.items("/v1/facts", space=api.space)
        versions = api.items("/v1/adapters", space=api.space)
    except CliError as error:
        return {"space": api.space, "error": str(error)}
    return {
        "space": api.space,
        "live": live_version(versions),
        "versions": len(versions),
        "facts": dict(Counter(str(fact["status"]) for fact in facts)),
    }
