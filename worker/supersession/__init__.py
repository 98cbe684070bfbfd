"""Which earlier fact a new statement replaces: a classifier of pairs, its training data, and the decision."""

from pathlib import Path

ADAPTERS_DIR = Path(__file__).parent / "adapters"
DATA_DIR = Path(__file__).parent / "data"
