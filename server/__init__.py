"""The FastAPI process: chat, facts, learning runs, adapters and the console. Never trains."""
