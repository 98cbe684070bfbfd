"""What must not change: questions besides the facts, and the base's own answers to all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from engram.grading import is_right
from evals.stream.datasets import Item
from evals.stream.methods.protocol import Method
from evals.stream.model import Setup, with_layers
from evals.told_once import DATA, golds, read
from worker.learner import BASE_ANSWER_TOKENS
from worker.training.generation import generate
from worker.training.rows import Row
from worker.training.trainer import Trainer


@dataclass(frozen=True, slots=True)
class Questions:
    """`controls` with the answers that are right; `unrelated` are those of the stream's own set, in its order."""

    controls: tuple[tuple[str, tuple[str, ...]], ...]
    never_told: tuple[str, ...]
    prompts: tuple[str, ...]
    unrelated: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BaseAnswers:
    """The base's answers, each in the order of its questions."""

    controls: tuple[str, ...]
    never_told: tuple[str, ...]
    unrelated: tuple[str, ...]


def load_questions(items: Sequence[Item]) -> Questions:
    return Questions(
        controls=tuple((row["question"], tuple(golds(row))) for row in read(DATA / "controls.jsonl")),
        never_told=tuple(row["question"] for row in read(DATA / "false_recall.jsonl")),
        prompts=tuple(row["prompt"] for row in read(DATA / "unrelated_prompts.jsonl")),
        unrelated=tuple(probe.question for item in items for probe in item.unrelated),
    )


class Reference:
    """Asks the base once. Methods are then asked in the same batches, so that the base itself changes nothing."""

    def __init__(self, setup: Setup, questions: Questions) -> None:
        self.questions = questions
        self.base = BaseAnswers(
            tuple(setup.answer([question for question, _ in questions.controls], None)),
            tuple(setup.answer(questions.never_told, None)),
            tuple(setup.answer(questions.unrelated, None)),
        )
        learner = setup.learner
        # Any layer may differ from the base's: no activation of a lower one may be taken for known.
        everywhere = with_layers(learner.lora, rank=learner.lora.rank, first_layer=0)
        self._trainer = Trainer(learner.base, everywhere, learner.rows)
        self._rows = _base_rows(setup, questions.prompts)

    def kl(self, method: Method) -> float:
        """Mean KL(base || method) a token on the base's own answers to the unrelated prompts, in nats.

        Where the base itself answers it is 0.
        """
        answering = method.weights(self.questions.prompts)
        total = 0.0
        for weights in {id(one): one for one in answering if one}.values():
            rows = [row for row, one in zip(self._rows, answering, strict=True) if one is weights]
            total += self._trainer.kl(weights, rows)[0] * sum(len(row.answer) for row in rows)
        return total / sum(len(row.answer) for row in self._rows)


def known_controls(questions: Questions, base: BaseAnswers) -> list[int]:
    """Which controls the base answers right: what it does not know examines nothing."""
    return [
        index
        for index, ((_, right), answer) in enumerate(zip(questions.controls, base.controls, strict=True))
        if is_right(answer, right)
    ]


def _base_rows(setup: Setup, prompts: Sequence[str]) -> list[Row]:
    learner = setup.learner
    ids = [learner.rows.prompt(prompt) for prompt in prompts]
    prefix = learner.rows.prefix
    outputs = generate(learner.base, learner.lora, None, ids, prefix=prefix, max_tokens=BASE_ANSWER_TOKENS)[0]
    return [Row(prompt, tuple(output)) for prompt, output in zip(ids, outputs, strict=True)]
