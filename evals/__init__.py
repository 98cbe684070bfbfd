"""Measure Engram from outside: through its API, with questions it never trained on."""
