"""What a batch feeds to a model: one tensor (images), or tensors by name (token ids, masks, time steps)."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Inputs = Tensor | dict[str, Tensor]
Forward = Callable[[Inputs], Tensor]
"""A model's outputs for the inputs of one batch."""


def call(module: Callable[..., Any], x: Inputs) -> Tensor:
    """The module's output: `module(x)`, or `module(**x)`; of transformers' outputs the `logits`."""
    output = module(**x) if isinstance(x, dict) else module(x)
    return output.logits if hasattr(output, "logits") else output


def to_device(x: Inputs, device: torch.device) -> Inputs:
    """The same inputs on `device`."""
    return {name: tensor.to(device) for name, tensor in x.items()} if isinstance(x, dict) else x.to(device)
