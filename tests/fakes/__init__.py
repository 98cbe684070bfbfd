"""Fakes that are real code: each keeps to the contract that tests/contract holds the real thing to."""
