"""A base model for tests of the trainer: random weights, four layers, a tokenizer of its own. It knows nothing."""

from functools import cache
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from worker.training.anchors import ANCHORS_DIR
from worker.training.base import ResidentBase
from worker.training.stacked_lora import StackedLora, Weights

START, END = "<|im_start|>", "<|im_end|>"
TEMPLATE = (
    START + "system\nYou are a helpful assistant." + END + "\n"
    "{% for message in messages %}" + START + "{{ message['role'] }}\n{{ message['content'] }}" + END + "\n"
    "{% endfor %}{% if add_generation_prompt %}" + START + "assistant\n{% endif %}"
)


def tiny_base(*, dtype: torch.dtype = torch.float32, seed: int = 0, device: str = "cpu") -> ResidentBase:
    """The same base for the same seed. The weights are spread wide, so that greedy answers are stable."""
    tokenizer = _tokenizer()
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        initializer_range=0.15,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.eos_token_id,
    )
    torch.manual_seed(seed)
    model = LlamaForCausalLM(config).to(device, dtype).eval()
    model.requires_grad_(False)
    return ResidentBase(model, tokenizer, f"tiny-{seed}")


def trained_looking(lora: StackedLora, *, seed: int, strength: float = 0.1) -> Weights:
    """One candidate whose B is not zero, so that it answers differently from the base."""
    weights = lora.fresh(seed=seed)
    generator = torch.Generator().manual_seed(seed)
    for name, weight in weights.items():
        if name.endswith(".B"):
            weight.copy_(torch.randn(weight.shape, generator=generator) * strength)
    return weights


@cache
def _tokenizer() -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_lines(ANCHORS_DIR / "prompts.jsonl"), trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=END, bos_token=None, chat_template=TEMPLATE
    )


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines()
