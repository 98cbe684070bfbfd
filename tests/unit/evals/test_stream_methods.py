"""Every method learns, or does not, as it says. On a tiny base: weights move, which is all that can be seen."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engram.lifecycle import FactStatus
from engram.repositories import FactRepository
from evals.client import ANSWER_TOKENS
from evals.stream.methods.last_third import LastThird
from evals.stream.methods.product import Product
from evals.stream.methods.protocol import Method, Question
from evals.stream.methods.seal import Seal, finetune, text_loss, training_texts
from evals.stream.methods.untrained import Base, InContext
from evals.stream.model import Setup, answer_tokens_for, with_layers
from evals.stream.reference import Reference
from scope.encoder import open_encoder
from tests.unit.evals.stream_fixtures import (
    ASK_ALL,
    CAT,
    ITEMS,
    PROMPTS,
    QUESTIONS,
    TOWN,
    Scripted,
    judge_all_learned,
    tiny_setup,
)
from worker import pipeline, teaching
from worker.service import Worker
from worker.training.stacked_lora import Weights


@pytest.fixture
def setup(tmp_path: Path) -> Setup:
    return tiny_setup(tmp_path)


def _weights(method: Method) -> Weights:
    """What a method answers about its first fact with."""
    (weights,) = method.weights(["What is the name of my cat?"])
    assert weights
    return weights


def test_base_learns_nothing(setup: Setup) -> None:
    base = Base(setup)
    before = base.answer(ASK_ALL)
    base.tell(CAT.statement, ITEMS[0])
    assert base.answer(ASK_ALL) == before
    assert base.weights(["Hello!"]) == [None]


def test_in_context_puts_the_statement_that_a_question_is_about_before_it(setup: Setup) -> None:
    (told, asked_bare) = InContext(setup).answer([Question("Name?", "My cat is Biscuit."), Question("Name?")])
    assert [told, asked_bare] == setup.answer(["My cat is Biscuit.\nName?", "Name?"], None)
    assert told != asked_bare


def test_last_third_trains_only_the_last_third_and_goes_on_from_fact_to_fact(setup: Setup) -> None:
    method = LastThird(setup)
    assert {name.split(".")[2] for name in _weights(method)} == {"3"}  # of four layers
    weights = []
    for item in ITEMS:
        method.tell(item.statement, item)
        weights.append({name: weight.clone() for name, weight in _weights(method).items()})
    assert method.outcome == "2 notes"  # a question and a cloze
    first, second = weights
    assert all(not torch.equal(first[name], second[name]) for name in first)
    assert method.answer(ASK_ALL) != Base(setup).answer(ASK_ALL)


def test_last_third_passes_over_what_the_author_has_no_note_for(setup: Setup) -> None:
    method = LastThird(setup)
    method.tell("It was there.", ITEMS[0])
    assert method.outcome == "0 notes"
    assert method.answer(ASK_ALL) == Base(setup).answer(ASK_ALL)


def test_seal_studies_the_statement_and_the_implications_behind_the_title(setup: Setup) -> None:
    assert training_texts(CAT.statement, "", setup.author) == ["Do I have a pet? Yes, a cat.", CAT.statement]
    assert training_texts(TOWN.statement, "Towns", setup.author) == ["Towns\nI live in Bergen."]


def test_seal_takes_the_loss_on_every_token_of_a_text(setup: Setup) -> None:
    lora = Seal(setup).lora
    row = tuple(lora.base.tokenizer(CAT.statement, add_special_tokens=False)["input_ids"])
    ids = torch.tensor([row])
    expected = lora.base.model(input_ids=ids, labels=ids).loss
    torch.testing.assert_close(text_loss(lora, row), expected)


def test_seal_trains_its_modules_and_learns_a_text(setup: Setup) -> None:
    lora = Seal(setup).lora
    row = tuple(lora.base.tokenizer(CAT.statement, add_special_tokens=False)["input_ids"])
    weights = finetune(lora, [row], seed=0)
    assert {name.rsplit(".", 2)[-2] for name in weights} == {"q_proj", "v_proj"}
    assert {name.split(".")[2] for name in weights} == {"0", "1", "2", "3"}
    assert {weight.shape[1 if name.endswith(".A") else 2] for name, weight in weights.items()} == {32}
    with lora.use(weights):
        assert text_loss(lora, row) < text_loss(Seal(setup).lora, row)


def test_seal_merges_one_fact_after_another_and_leaves_the_shared_base_alone(setup: Setup) -> None:
    shared = {name: parameter.clone() for name, parameter in setup.learner.base.model.named_parameters()}
    method = Seal(setup)
    assert method.weights(["Hello!"]) == [None]
    changes = []
    for item in ITEMS:
        method.tell(item.statement, item)
        changes.append(_weights(method))
    assert method.outcome == "1 lines"
    assert all(not torch.equal(changes[0][n], changes[1][n]) for n in changes[0] if n.endswith("B"))
    assert all(torch.equal(p, shared[name]) for name, p in setup.learner.base.model.named_parameters())


def test_seals_weights_are_its_merges_on_the_shared_base(setup: Setup) -> None:
    method = Seal(setup)
    for item in ITEMS:
        method.tell(item.statement, item)
    assert setup.answer([each.text for each in ASK_ALL], _weights(method)) == method.answer(ASK_ALL)
    ids = torch.tensor([setup.learner.rows.prefix])
    lora = setup.learner.lora
    with lora.use(_weights(method)):
        ours = lora.base.decoder(input_ids=ids).last_hidden_state
    torch.testing.assert_close(ours, method.lora.base.decoder(input_ids=ids).last_hidden_state, rtol=1e-3, atol=1e-4)


@pytest.fixture
def product(setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Product:
    monkeypatch.setattr(teaching, "NOTES_PER_MORE_STEP", 60)
    return Product(setup, tmp_path / "engram")


@pytest.fixture
def _learns_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "examine", judge_all_learned)


@pytest.mark.usefixtures("_learns_all")
def test_engram_learns_each_fact_in_a_run_and_answers_from_the_published_file(product: Product, setup: Setup) -> None:
    assert product.weights(["Hello!"]) == [None]
    for number, item in enumerate(ITEMS, start=1):
        product.tell(item.statement, item)
        assert product.outcome == f"live, v{number}"
    weights = _weights(product)
    assert len(list((product.settings.adapters_dir / product.space_id).iterdir())) == 2
    assert product.answer(ASK_ALL) == setup.answer([each.text for each in ASK_ALL], weights)
    assert product.answer(ASK_ALL) != Base(setup).answer(ASK_ALL)


@pytest.fixture
def scoped(setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Product:
    """Engram with the sentence encoder, so that its versions have scopes."""
    monkeypatch.setattr(teaching, "NOTES_PER_MORE_STEP", 60)
    # So few prompts as the others have leave much nearest to whatever was told.
    prompts = replace(PROMPTS, train=(*PROMPTS.train, "Who wrote Faust?", "Tell me how rain forms."))
    learner = replace(setup.learner, prompts=prompts, sentences=open_encoder())
    return Product(replace(setup, learner=learner), tmp_path / "engram")


@pytest.mark.usefixtures("_learns_all")
def test_engram_answers_within_its_scope_and_the_base_outside_of_it(scoped: Product, setup: Setup) -> None:
    scoped.tell(CAT.statement, ITEMS[0])
    texts = ["What is the name of my cat?", "Who wrote Hamlet?", "Tell me how volcanoes erupt."]
    assert [weights is not None for weights in scoped.weights(texts)] == [True, False, False]
    answers, base = scoped.answer([Question(text) for text in texts]), setup.answer(texts, None)
    assert answers[0] == setup.answer(texts[:1], scoped.weights(texts)[0])[0] != base[0]
    assert answers[1:] == base[1:]


@pytest.mark.usefixtures("_learns_all")
def test_engram_answers_each_question_from_the_shard_that_was_taught_it(
    scoped: Product, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scoped.settings, "facts_per_shard", 1)
    alone = []
    texts = ["What is the name of my cat?", "Where is it that I live?"]
    for item, text in zip(ITEMS, texts, strict=True):
        scoped.tell(item.statement, item)
        alone += scoped.answer([Question(text)])
    assert scoped.outcome == "live, v2"
    assert scoped.answer([Question(text) for text in texts]) == alone
    cat, town = scoped.weights(texts)
    assert cat is not None
    assert town is not None
    assert any(not torch.equal(cat[name], town[name]) for name in cat)


@pytest.mark.usefixtures("_learns_all")
def test_engram_says_when_telling_a_fact_also_consolidated(product: Product, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(product.settings, "consolidate_after_runs", 2)
    for item in ITEMS:
        product.tell(item.statement, item)
    assert product.outcome == "live, v3, consolidation published"


def test_engram_tries_a_rejected_fact_again_before_it_gives_up(product: Product) -> None:
    product.tell(CAT.statement, ITEMS[0])
    with product.database.read() as session:
        (fact,) = FactRepository(session).with_status(product.space_id, *FactStatus)
    assert (fact.status, fact.attempts) == (FactStatus.REJECTED, 2)
    assert product.outcome.startswith("rejected, v0: no candidate passed the gate")
    assert product.weights(["Hello!"]) == [None]


def test_engram_refuses_what_the_ledger_would_refuse(product: Product) -> None:
    product.tell("Where do I live?", ITEMS[0])
    assert product.outcome == "rejected, v0: this is a question, not a statement"


@pytest.mark.usefixtures("_learns_all")
def test_engram_opened_again_goes_on_with_the_run_it_was_killed_in(
    product: Product, setup: Setup, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    product.tell(CAT.statement, ITEMS[0])

    def killed(_worker: Worker, space_id: str) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Worker, "learn", killed)
        with pytest.raises(KeyboardInterrupt):
            product.tell(TOWN.statement, ITEMS[1])
    product.close()
    again = Product(setup, tmp_path / "engram")
    assert _weights(again)
    again.tell(TOWN.statement, ITEMS[1])
    assert again.outcome == "live, v2"
    again.tell(TOWN.statement, ITEMS[1])  # told already: nothing is learned twice
    assert again.outcome == "live, v2"


class Fixed(Scripted):
    """A method with these weights; `covered` prompts are answered with them, None for all."""

    def __init__(self, weights: Weights | None, covered: Sequence[str] | None = None) -> None:
        super().__init__({})
        self._weights, self._covered = weights, covered

    def weights(self, prompts: Sequence[str]) -> list[Weights | None]:
        return [self._weights if self._covered is None or prompt in self._covered else None for prompt in prompts]


def test_divergence_of_the_base_is_zero_and_counts_changes_in_any_layer(setup: Setup) -> None:
    reference = Reference(setup, QUESTIONS)
    assert reference.kl(Fixed(None)) == 0.0
    lowest = with_layers(setup.learner.lora, rank=4, first_layer=0).fresh(seed=0)
    assert reference.kl(Fixed(lowest)) == pytest.approx(0.0, abs=1e-6)
    changed = {n: w + 0.1 if ".0." in n and n.endswith("B") else w for n, w in lowest.items()}
    assert reference.kl(Fixed(changed)) > 0.01


def test_divergence_is_zero_where_the_base_itself_answers(setup: Setup) -> None:
    reference = Reference(setup, QUESTIONS)
    lowest = with_layers(setup.learner.lora, rank=4, first_layer=0).fresh(seed=0)
    changed = {n: w + 0.1 if n.endswith("B") else w for n, w in lowest.items()}
    assert reference.kl(Fixed(changed, covered=())) == 0.0
    parts = [reference.kl(Fixed(changed, covered=(prompt,))) for prompt in QUESTIONS.prompts]
    assert all(part > 0 for part in parts)
    assert sum(parts) == pytest.approx(reference.kl(Fixed(changed)), rel=1e-3)


def test_base_changes_nothing_of_what_must_not_change(setup: Setup) -> None:
    reference = Reference(setup, QUESTIONS)
    base = Base(setup)
    assert base.answer([Question(q) for q, _ in QUESTIONS.controls]) == list(reference.base.controls)
    assert base.answer([Question(q) for q in QUESTIONS.unrelated]) == list(reference.base.unrelated)


def test_answers_have_room_for_the_longest_gold(setup: Setup) -> None:
    base, probe = setup.learner.base, ITEMS[0].probes[0]
    assert answer_tokens_for(base, ITEMS) == ANSWER_TOKENS
    wordy = replace(ITEMS[0], probes=(replace(probe, answers=("zq " * 40,)),))
    assert answer_tokens_for(base, [wordy]) > 80
