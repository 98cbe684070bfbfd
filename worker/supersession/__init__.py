"""Which earlier fact a new statement replaces: a classifier of pairs, its training data, and the decision."""

from pathlib import Path

ADAPTER_DIR = Path(__file__).parent / "adapter"
DATA_DIR = Path(__file__).parent / "data"
