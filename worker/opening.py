"""Open the base that is trained on, with its question encoder, and the author that writes on it. Warms nothing up."""

from dataclasses import dataclass
from pathlib import Path

from engram.settings import Settings
from scope.encoder import open_encoder
from worker.author.resident import ResidentAuthor, open_resident_author
from worker.base_model import EMBEDDED_NAME, prepare
from worker.encoder import ADAPTER_DIR as ENCODER_DIR
from worker.learner import Learner, open_learner
from worker.training.anchors import shipped_answers


@dataclass(frozen=True)
class OpenedBase:
    """`path` is what vLLM serves too: a folder, or a hub id."""

    path: Path
    learner: Learner

    @property
    def author_fits(self) -> bool:
        """Whether the shipped author adapter was trained for this base."""
        return self.path.name == EMBEDDED_NAME

    def author(self) -> ResidentAuthor:
        return open_resident_author(self.learner, fits=self.author_fits)


def open_base(settings: Settings) -> OpenedBase:
    """Prepare the base's folder and load it. Raises EngramError where there is no such model."""
    path, sentences = prepare(settings), open_encoder()
    if path.name != EMBEDDED_NAME:
        return OpenedBase(path, open_learner(path, settings, sentences=sentences))
    learner = open_learner(path, settings, encoder=ENCODER_DIR, sentences=sentences, shipped=shipped_answers())
    return OpenedBase(path, learner)
