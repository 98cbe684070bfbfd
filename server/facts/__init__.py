"""The fact ledger over HTTP: list, add, edit, delete."""
