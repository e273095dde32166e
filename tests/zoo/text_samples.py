"""Tiny text models, samples and a tokenizer for the tests of the core."""

import json
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from zoo.architecture import Architecture
from zoo.families import architecture
from zoo.size import Size

VOCAB, LENGTH, LABELS = 40, 9, 3
UNKNOWN = "?"
WORDS = ("sea", "salt", "wind", "wave", "ship", "sail")


def text_arch(family: str, task: str = "", size: Size | None = None, **config: Any) -> Architecture:
    """`task` may be left out for GPT-2; classifiers have 3 classes."""
    head = {"task": task} if task else {}
    head |= {"num_labels": LABELS} if task == "classification" else {}
    padding = {"pad_token_id": 1} if family == "roberta" else {}
    config = {"vocab_size": VOCAB, "max_length": LENGTH, **padding, **head, **config}
    return architecture(family, config, size or Size(depth=2, width=12, heads=3, mlp=20))


TASKS = [(family, task) for family in ("bert", "roberta") for task in ("none", "masked", "classification")]
EVERY = [text_arch(family, task) for family, task in TASKS] + [text_arch("gpt2")]
"""Every family with every head."""


def label(arch: Architecture) -> str:
    return f"{arch.family.name}-{arch.family.task(arch.config)}-{arch.size}"


def tokens(length: int = LENGTH, count: int = 2) -> torch.Tensor:
    """Samples without padding."""
    return torch.randint(5, VOCAB, (count, length), generator=torch.Generator().manual_seed(7))


def output(model: Any, *args: Any, **inputs: Any) -> torch.Tensor:
    """Logits, or what a model without a head gives: the hidden states of all tokens and the pooled one."""
    with torch.no_grad():
        out = model(*args, **inputs)
    if hasattr(out, "logits"):
        return out.logits
    return torch.cat([out.last_hidden_state, out.pooler_output[:, None]], dim=1)


def tokenizer(*special: str) -> str:
    """A `tokenizer.json` of a few words after the special tokens; pairs are framed and their segments told apart."""
    ids = {name: i for i, name in enumerate((*special, UNKNOWN, *WORDS))}
    made = Tokenizer(models.WordLevel(ids, unk_token=UNKNOWN))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.add_special_tokens(list(special))
    first, last = special[0], special[-1]
    made.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}",
        pair=f"{first} $A {last} $B:1 {last}:1",
        special_tokens=[(first, ids[first]), (last, ids[last])],
    )
    return json.dumps(json.loads(made.to_str()), indent=1)
