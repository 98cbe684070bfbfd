"""Write as the author on the trainer's own base, all jobs of a learning run in one batch.

On two cores this is four times as fast as vLLM, which gathers an adapter's weights anew for every
token there, and it leaves vLLM to the chats. Not for use while the base trains.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

from worker.author import tasks
from worker.author.client import MAX_TOKENS, Job, few_shots
from worker.author.tasks import Shots
from worker.author.train import ADAPTER_DIR
from worker.learner import Learner
from worker.training.generation import generate
from worker.training.rows import Ids
from worker.training.stacked_lora import Weights


@dataclass(frozen=True)
class ResidentAuthor:
    """`weights` is the author adapter, or None: the base then gets `shots` in its prompt."""

    learner: Learner
    weights: Weights | None
    shots: Shots | None = None

    def write_all(self, jobs: Sequence[Job]) -> list[str]:
        if not jobs:
            return []
        learner = self.learner
        prompts = [self._prompt(job) for job in jobs]
        prefix = _shared_beginning(prompts)
        outputs = generate(
            learner.base,
            learner.lora,
            self.weights,
            [prompt[len(prefix) :] for prompt in prompts],
            prefix=prefix,
            max_tokens=max(MAX_TOKENS[job.task] for job in jobs),
            temperatures=[job.sampling.temperature for job in jobs],
            seed=sum(job.sampling.seed for job in jobs),
        )[0]
        cut = [output[: MAX_TOKENS[job.task]] for job, output in zip(jobs, outputs, strict=True)]
        texts: list[str] = learner.base.tokenizer.batch_decode(cut, skip_special_tokens=True)
        return texts

    def _prompt(self, job: Job) -> Ids:
        tokenizer = self.learner.base.tokenizer
        messages = tasks.prompt(job.task, job.text, self.shots)
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        return tuple(tokenizer(text, add_special_tokens=False)["input_ids"])


def _shared_beginning(prompts: Sequence[Ids]) -> Ids:
    """The tokens that all prompts begin with, computed once. Each keeps one of its own, from which it goes on."""
    same = takewhile(lambda tokens: len(set(tokens)) == 1, zip(*(prompt[:-1] for prompt in prompts), strict=False))
    return tuple(token for token, *_ in same)


def open_resident_author(learner: Learner, *, fits: bool, folder: Path = ADAPTER_DIR) -> ResidentAuthor:
    """The author for this base. `fits` says whether the shipped adapter was trained for it."""
    if not fits:
        return ResidentAuthor(learner, None, few_shots())
    return ResidentAuthor(learner, learner.lora.load(folder))
