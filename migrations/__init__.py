"""Alembic's environment and the history of the schema. `engram.migrate` runs it."""
