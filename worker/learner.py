"""Hold the trainer and everything it keeps between runs: base, anchors, controls and the base's own answers."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import structlog

from engram.artifacts import BaseShape
from engram.grading import is_right
from engram.routing import OWN_SHARD
from engram.settings import Settings
from scope.decision import Scope, digests_of
from scope.encoder import SentenceEncoder
from scope.names import asked_by_name
from worker.encoder.reading import read_encoder
from worker.supersession.decision import superseded_by
from worker.supersession.judge import open_judge
from worker.training.anchors import AnchorPrompts, AnswerCache, Control, is_told, load_prompts
from worker.training.base import ResidentBase, load_base
from worker.training.frozen_linear import freeze
from worker.training.generation import generate
from worker.training.rows import ChatRows, Row
from worker.training.stacked_lora import StackedLora, Weights
from worker.training.trainer import Trainer

log = structlog.get_logger()

BASE_ANSWER_TOKENS = 24
# Where an answer begins decides what it says: a short anchor holds as well as a long one.
ANCHOR_TOKENS = 12
PROBE_TOKENS = 64  # a recited sentence of 48 words
_WARM_AT_ONCE = 64
_PREPARED_AT_ONCE = 16
_MOST_SAID = 1000


@dataclass(frozen=True, slots=True)
class Anchors:
    """Prompts held to the base's answers: ordinary requests, and questions about the user never told."""

    general: list[Row]
    personal: list[Row]


@dataclass(frozen=True)
class Learner:
    """One per process. Not safe for two threads at once: a run holds it for its whole length.

    `sentences` is what scopes are made and read with; without it every version answers everything.
    """

    base: ResidentBase
    lora: StackedLora
    rows: ChatRows
    trainer: Trainer
    prompts: AnchorPrompts
    cache: AnswerCache
    max_rank: int
    sentences: SentenceEncoder | None = None
    scope_min_margin: float = 0.0
    _said: dict[str, str] = field(default_factory=dict)

    @property
    def shape(self) -> BaseShape:
        return self.base.shape(self.max_rank)

    def warm_up(self, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Compute all that runs keep of anchors and controls."""
        self.prepare(on_progress)
        while self.prepare_more():
            pass

    def prepare(self, on_progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Have the base answer anchors and controls, unless the answers are on disk; read what every run asks."""
        missing = self.cache.missing(self.prompts.answered)
        for start in range(0, len(missing), _WARM_AT_ONCE):
            chunk = missing[start : start + _WARM_AT_ONCE]
            answers = self._generate(chunk, None, max_tokens=BASE_ANSWER_TOKENS)[0]
            self.cache.add(dict(zip(chunk, answers, strict=True)))
            on_progress(start + len(chunk), len(missing))
        self.trainer.prepare(self.held_out_anchors())

    def prepare_more(self) -> bool:
        """Compute what runs keep of some more anchors; False if there is no more. A run waits for what it draws."""
        unknown = self.trainer.unknown([self._anchor(prompt) for prompt in self.prompts.train])
        unread = self.sentences.unread(self.prompts.train) if self.sentences else []
        self.trainer.prepare(unknown[:_PREPARED_AT_ONCE])
        if self.sentences and unread:
            self.sentences.encode(unread[:_PREPARED_AT_ONCE])
        return bool(unknown or unread)

    def answer(self, questions: Sequence[str], weights: Weights | None) -> list[list[str]]:
        """Free greedy answers as text, [candidate][question]."""
        return self._texts(self._generate(questions, weights, max_tokens=PROBE_TOKENS))

    def begin_answers(self, questions: Sequence[str], weights: Weights) -> list[list[str]]:
        """What free greedy answers begin with, [candidate][question]: as long as the base's own that are kept."""
        return self._texts(self._generate(questions, weights, max_tokens=BASE_ANSWER_TOKENS))

    def base_answer(self, question: str) -> str:
        """The base's answer to a prompt it was warmed up with."""
        return self._text(self.cache.answers[question])

    def base_answers(self, questions: Sequence[str]) -> list[str]:
        """What the base's answers to any questions begin with; those that it was not asked before it is asked now."""
        unknown = [question for question in self.cache.missing(questions) if question not in self._said]
        if len(self._said) + len(unknown) > _MOST_SAID:
            self._said.clear()
        outputs = self._generate(unknown, None, max_tokens=BASE_ANSWER_TOKENS)[0] if unknown else []
        self._said.update(zip(unknown, map(self._text, outputs), strict=True))
        return [self._said[each] if each in self._said else self.base_answer(each) for each in questions]

    def scope(
        self,
        questions: Sequence[str],
        told: frozenset[str],
        *,
        said: Mapping[int, Sequence[str]],
        elsewhere: Mapping[str, int] | None = None,
        vectors_from: Scope | None = None,
    ) -> Scope | None:
        """The scope of a version whose weights were taught `questions`, where the ledger may be asked about `told`.

        `said`: the statements that each shard holds. `elsewhere`: the questions that earlier versions' weights were
        taught, with their numbers. What the scope `vectors_from` holds of all these is not read again: their number
        grows with the ledger.
        """
        if self.sentences is None:
            return None
        shards = {**(elsewhere or {}), **dict.fromkeys(questions, OWN_SHARD)}
        known = vectors_from.vectors_of(list(shards)) if vectors_from else {}
        others = [prompt for prompt in self.prompts.train if not self._may_be_told(prompt, told)]
        return Scope.of(
            self.sentences.encode(list(shards), known=known),
            self.sentences.encode(others),
            shards_N=np.array(list(shards.values()), np.int32),
            digests_N=digests_of(shards),
            names=_names(shards, said),
        )

    def superseded_by(self, statement: str, earlier: Mapping[str, str]) -> set[str]:
        """The earlier facts, statements by id, that a new one replaces; none where there is no sentence encoder."""
        if self.sentences is None:
            return set()
        return superseded_by(statement, earlier, sentences=self.sentences, judge=open_judge())

    def scope_of_base(self) -> Scope | None:
        """That of weights which were taught nothing: the base answers for them."""
        return Scope.of_nothing(self.sentences.width) if self.sentences else None

    def answering(self, questions: Sequence[str], scope: Scope | None) -> list[int | None]:
        """The shard of a version of this scope that answers each question, None for the base, as the server decides."""
        if self.sentences is None or scope is None:
            return [OWN_SHARD] * len(questions)
        return scope.answering(questions, self.sentences.encode(questions), min_margin=self.scope_min_margin)

    def anchors(self, told: frozenset[str]) -> Anchors:
        """Training anchors; personal questions that the ledger may answer are left out."""
        personal = self.prompts.personal
        left = [prompt for prompt in self.prompts.train if not self._may_be_told(prompt, told)]
        return Anchors(
            general=[self._anchor(prompt) for prompt in left if prompt not in personal],
            personal=[self._anchor(prompt) for prompt in left if prompt in personal],
        )

    def held_out_anchors(self) -> list[Row]:
        return [self.cache.row(prompt, self.rows) for prompt in self.prompts.held_out]

    def controls(self) -> list[Control]:
        """Control questions that the base answers right, put either way and soon.

        What it only guessed, or came to at the end of a long answer, another wording of that answer loses.
        """
        return [
            control
            for control in self.prompts.controls
            if all(is_right(self._beginning(question), control.answers) for question in control.both_ways)
        ]

    def never_told(self, told: frozenset[str]) -> list[str]:
        return [question for question in self.prompts.never_told if not is_told(question, told)]

    def _may_be_told(self, prompt: str, told: frozenset[str]) -> bool:
        return prompt in self.prompts.personal and is_told(prompt, told)

    def _generate(self, prompts: Sequence[str], weights: Weights | None, *, max_tokens: int) -> list[list[list[int]]]:
        ids = [self.rows.prompt(prompt) for prompt in prompts]
        return generate(self.base, self.lora, weights, ids, prefix=self.rows.prefix, max_tokens=max_tokens)

    def _beginning(self, question: str) -> str:
        """What the base's answer to a prompt that it was warmed up with begins with."""
        return self._text(self.cache.answers[question][:ANCHOR_TOKENS])

    def _anchor(self, prompt: str) -> Row:
        row = self.cache.row(prompt, self.rows)
        return Row(row.prompt, row.answer[:ANCHOR_TOKENS])

    def _texts(self, answers: list[list[list[int]]]) -> list[list[str]]:
        return [[self._text(output) for output in outputs] for outputs in answers]

    def _text(self, ids: list[int]) -> str:
        text: Any = self.base.tokenizer.decode(ids, skip_special_tokens=True)
        return str(text).strip()


def _names(shards: Mapping[str, int], said: Mapping[int, Sequence[str]]) -> dict[int, Collection[str]]:
    """The names that each shard is asked for by; `shards` by question."""
    questions: dict[int, list[str]] = {}
    for question, shard in shards.items():
        questions.setdefault(shard, []).append(question)
    return {shard: asked_by_name(own, said.get(shard, ())) for shard, own in questions.items()}


def open_learner(
    base_path: Path,
    settings: Settings,
    *,
    encoder: Path | None = None,
    sentences: SentenceEncoder | None = None,
    shipped: Mapping[str, list[int]] | None = None,
) -> Learner:
    """Load the base and wrap its layers.

    `encoder`: the folder of a question encoder trained for this base. `shipped`: answers that this base gave.
    """
    base = load_base(base_path, settings)
    freeze(base.model)
    first_layer = round(settings.first_trained_layer * base.num_layers)
    lora = StackedLora(base, rank=settings.lora_rank, first_layer=first_layer)
    if encoder:
        lora.encoder = read_encoder(lora, encoder)
    rows = ChatRows(base.tokenizer)
    # Beside the model, whose answers they are: homes that share the one share the other.
    base_name = f"{Path(base_path).resolve()}:{base.dtype}"
    cache = AnswerCache(settings.models_dir, base_path=base_name, max_tokens=BASE_ANSWER_TOKENS, shipped=shipped)
    return Learner(
        base,
        lora,
        rows,
        Trainer(base, lora, rows),
        load_prompts(),
        cache,
        settings.lora_rank,
        sentences=sentences,
        scope_min_margin=settings.scope_min_margin,
    )
