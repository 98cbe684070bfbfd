"""Read a question encoder as what every new candidate carries."""

from pathlib import Path

import structlog
from torch.nn.functional import pad

from worker.training.stacked_lora import StackedLora, Weights

log = structlog.get_logger()


def read_encoder(lora: StackedLora, folder: Path) -> Weights:
    """The encoder's tensors as one candidate's, widened with zeros to the rank of `lora`, which changes nothing.

    Empty where that rank is too small for it, since a version has one rank on all its layers, and where layers that
    it needs are trained.
    """
    weights = lora.read(folder)
    if trained := sum(map(lora.is_trained, weights)):
        log.warning("encoder.not_used", tensors_of_trained_layers=trained)
        return {}
    rank = next(value.shape[1] for key, value in weights.items() if key.endswith(".A"))
    missing = lora.rank - rank
    if missing < 0:
        log.warning("encoder.not_used", needs_rank=rank, rank=lora.rank)
        return {}
    return {
        key: pad(value, (0, 0, 0, missing) if key.endswith(".A") else (0, missing)) for key, value in weights.items()
    }
