"""Tiny models, weights and learngenes for the tests of the core."""

from collections.abc import Mapping
from typing import Any

import torch
from hypothesis import HealthCheck, settings

from zoo.api import condense
from zoo.architecture import Architecture, Weights
from zoo.checkpoint import Checkpoint
from zoo.families import architecture
from zoo.learngene import Learngene
from zoo.methods.base import ClosedForm, Method, Trained
from zoo.size import Size

CONFIG = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 3}

few = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
"""For properties: few examples, and no time limit on a busy machine."""


def vit(depth: int = 2, width: int = 8, heads: int = 2, mlp: int = 16, **config: int) -> Architecture:
    return architecture("vit", CONFIG | config, Size(depth=depth, width=width, heads=heads, mlp=mlp))


def resnet(depth: int = 8, width: int = 8, **config: Any) -> Architecture:
    """Images of 16 pixels end as one pixel."""
    small = {"img_size": 16, "in_chans": 1, "num_classes": 3, "blocks": (1, 1, 1, 1)}
    return architecture("resnet", small | config, Size(depth=depth, width=width))


def convnext(depth: int = 5, width: int = 8, **config: Any) -> Architecture:
    small = {"img_size": 8, "patch_size": 1, "in_chans": 1, "num_classes": 3, "blocks": (1, 1, 2, 1)}
    return architecture("convnext", small | config, Size(depth=depth, width=width))


def noise(arch: Architecture, seed: int = 0, dtype: torch.dtype = torch.float32) -> Weights:
    """Weights in which every number is random: biases and norms too, which real starts leave at 0 and 1."""
    return _random(arch.shapes(), seed, dtype)


def learngene(method: Method, arch: Architecture, seed: int = 0, dtype: torch.dtype = torch.float32) -> Learngene:
    """A learngene of either sort in which every number is random."""
    if isinstance(method, ClosedForm):
        return condense(Checkpoint(arch, noise(arch, seed, dtype), digest="ab" * 32), method)
    assert isinstance(method, Trained)
    shapes = {name: tuple(tensor.shape) for name, tensor in method.start(arch, seed).items()}
    return Learngene(method, arch, _random(shapes, seed, dtype))


def _random(shapes: Mapping[str, tuple[int, ...]], seed: int, dtype: torch.dtype) -> Weights:
    """Normal numbers; variances are positive."""
    generator = torch.Generator().manual_seed(seed)
    drawn = {name: torch.randn(shape, generator=generator, dtype=dtype) for name, shape in shapes.items()}
    return {name: tensor.abs() if name.endswith("running_var") else tensor for name, tensor in drawn.items()}


def images(arch: Architecture, count: int = 2) -> torch.Tensor:
    config = arch.config.model_dump()
    shape = (count, config["in_chans"], config["img_size"], config["img_size"])
    return torch.randn(shape, generator=torch.Generator().manual_seed(7))
