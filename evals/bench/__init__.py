"""Measure Engram's speed as ratios: the trainer in this process, learning and chat through the API."""
