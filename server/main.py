"""Run the server: `python -m server.main`. Migrations are run before it, by `engram up` or `engram migrate`."""

import sys

import uvicorn

from engram import logs
from engram.settings import Settings
from server.app import create_app
from server.auth import UnsafeAddress
from server.chat.scoping import load_encoder_aside


def main() -> None:
    settings = Settings()
    logs.configure(settings.log_level)
    try:
        app = create_app(settings)
    except UnsafeAddress as error:
        sys.exit(f"engram: {error}")
    load_encoder_aside()
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_level=settings.log_level.lower(),
        access_log=False,
        proxy_headers=False,
        timeout_graceful_shutdown=5,  # an open event stream must not hold up Ctrl-C
    )


if __name__ == "__main__":
    main()
