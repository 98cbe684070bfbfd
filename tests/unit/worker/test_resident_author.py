"""The author on the trainer's own base writes what PEFT writes with the same adapter, all jobs in one batch."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from peft import PeftModel

from tests.fakes.base import tiny_base, trained_looking
from worker.author import tasks
from worker.author.client import MAX_TOKENS, Job, Sampling
from worker.author.resident import open_resident_author
from worker.learner import Learner
from worker.training.base import ResidentBase
from worker.training.stacked_lora import StackedLora

JOBS = [
    Job(tasks.REWRITE, "My cat is called Biscuit."),
    Job(tasks.ANSWER, tasks.ask_answer("I am 7.", "How old am I?")),
]


@pytest.fixture
def learner(base: ResidentBase, lora: StackedLora) -> Learner:
    return cast(Learner, SimpleNamespace(base=base, lora=lora))


@pytest.fixture
def folder(lora: StackedLora, tmp_path: Path) -> Path:
    lora.save(trained_looking(lora, seed=1), 0, tmp_path)
    return tmp_path


SAME_BEGINNING = [Job(tasks.ANSWER, tasks.ask_answer("I am 7.", asked)) for asked in ("Who am I?", "How old?", "How?")]


@pytest.mark.parametrize("jobs", [JOBS, SAME_BEGINNING, [JOBS[1]], [JOBS[1], JOBS[1]]])
def test_what_it_writes_is_what_peft_writes_one_by_one(learner: Learner, folder: Path, jobs: list[Job]) -> None:
    written = open_resident_author(learner, fits=True, folder=folder).write_all(jobs)
    tokenizer = learner.base.tokenizer
    peft = PeftModel.from_pretrained(tiny_base().model, folder).eval()
    for job, text in zip(jobs, written, strict=True):
        prompt = tokenizer.apply_chat_template(
            tasks.prompt(job.task, job.text), tokenize=False, add_generation_prompt=True
        )
        ids = torch.tensor([tokenizer(prompt, add_special_tokens=False)["input_ids"]])
        output = peft.generate(
            input_ids=ids, max_new_tokens=MAX_TOKENS[job.task], do_sample=False, pad_token_id=tokenizer.eos_token_id
        )
        assert text == tokenizer.decode(output[0, ids.shape[1] :], skip_special_tokens=True)


def test_base_without_an_author_adapter_is_shown_examples(learner: Learner) -> None:
    author = open_resident_author(learner, fits=False)
    assert author.weights is None
    assert author.shots is not None
    assert set(MAX_TOKENS) == set(author.shots)
    assert all(len(turns) == 6 for turns in author.shots.values())


def test_drawn_output_is_the_same_for_a_seed(learner: Learner, folder: Path) -> None:
    author = open_resident_author(learner, fits=True, folder=folder)

    def draw(seed: int) -> list[str]:
        return author.write_all([Job(tasks.REWRITE, "I live in Bergen.", Sampling(3.0, seed)), JOBS[1]])

    assert draw(1) == draw(1)
    assert draw(1)[0] != draw(2)[0]


def test_nothing_to_write_is_nothing_written(learner: Learner, folder: Path) -> None:
    assert open_resident_author(learner, fits=True, folder=folder).write_all([]) == []
