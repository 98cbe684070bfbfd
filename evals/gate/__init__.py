"""Measure the gate: how many candidates made bad on purpose get in, and how many good ones are kept out."""
