"""The question encoder: lower layers that read two wordings of one question alike, carried by every version."""

from pathlib import Path

ADAPTER_DIR = Path(__file__).parent / "adapter"
