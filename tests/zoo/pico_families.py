"""A model of a few thousand parameters of every family, trained-looking weights for it, and inputs."""

from typing import Any

import torch
from torch import Tensor

from zoo.architecture import Architecture, Weights
from zoo.families import architecture
from zoo.size import Size

IMAGES = {"in_chans": 2, "num_classes": 3}
TEXT = {"vocab_size": 11, "max_length": 6}
SIZE = Size(depth=2, width=8, heads=2, mlp=12)
PICOS: dict[str, tuple[dict[str, Any], Size]] = {
    "vit": ({**IMAGES, "img_size": 8, "patch_size": 4}, SIZE),
    "resnet": ({**IMAGES, "img_size": 32}, Size(depth=9, width=4)),
    "resnet-bottleneck": ({**IMAGES, "img_size": 32, "block": "bottleneck"}, Size(depth=8, width=2)),
    "convnext": ({**IMAGES, "img_size": 32}, Size(depth=5, width=4)),
    "bert": (TEXT, SIZE),
    "bert-classification": ({**TEXT, "task": "classification", "num_labels": 3}, SIZE),
    "roberta": ({**TEXT, "pad_token_id": 1}, SIZE),
    "gpt2": (TEXT, SIZE),
    "mlp": ({**IMAGES, "img_size": 4}, Size(depth=2, width=6)),
    "dit": ({**IMAGES, "img_size": 4, "patch_size": 2}, SIZE),
}
"""Config and size by the family's name; what follows a dash is one of its variants."""


def pico(name: str) -> Architecture:
    """The smallest model that has everything its family has."""
    config, size = PICOS[name]
    return architecture(name.partition("-")[0], config, size)


def trained(arch: Architecture, seed: int = 0, dtype: torch.dtype = torch.float32) -> Weights:
    """Weights in which every number is random and every statistic positive; signals neither die nor explode."""
    generator = torch.Generator().manual_seed(seed)
    weights: Weights = {}
    for key, kind in arch.kinds.items():
        for name in arch.names(key):
            normal = torch.randn(arch.shape(key), generator=generator, dtype=torch.float64)
            fan_in = normal[0].numel() if kind.decays else 1
            weights[name] = (normal.abs() + 0.5 if kind.statistic else normal / fan_in**0.5).to(dtype)
    return weights


def sample(arch: Architecture, dtype: torch.dtype = torch.float32) -> Tensor | dict[str, Tensor]:
    """A batch of two that the family's models take: one tensor, or tensors by name."""
    config, generator = arch.config.model_dump(), torch.Generator().manual_seed(7)
    if "vocab_size" in config:
        shape = (2, config["max_length"])
        ids = torch.randint(2, config["vocab_size"], shape, generator=generator)
        return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    shape = (2, config["in_chans"], config["img_size"], config["img_size"])
    x = torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    denoising = arch.family.task(arch.config) == "denoising"
    return {"x": x, "t": torch.tensor([3, 500]), "y": torch.tensor([0, 2])} if denoising else x


@torch.no_grad()
def outputs(arch: Architecture, weights: Weights, dtype: torch.dtype = torch.float64) -> Tensor:
    """What the real model with these weights computes for `sample`, in eval mode."""
    model, x = arch.assemble(weights).to(dtype).eval(), sample(arch, dtype)
    result = model(**x) if isinstance(x, dict) else model(x)
    return getattr(result, "logits", result)


def even(arch: Architecture) -> Weights:
    """Weights with one scale for all channels before an output that is tied."""
    weights = trained(arch, dtype=torch.float64)
    tied = {name for key, kind in arch.kinds.items() if kind.feeds_tied and kind.scales for name in arch.names(key)}
    return {name: torch.full_like(x, x.mean().item()) if name in tied else x for name, x in weights.items()}
