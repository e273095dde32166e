"""TLEG (Xia et al., arXiv 2312.05614, AAAI 2024): layers that are linear in their position.

`W[l] = base + (l / L) slope` for l = 0 ... L - 1: two layers' worth of tensors give any depth. The paper distils an
ancestor into such a model; here base and slope are the least-squares fit to the ancestor's layers, without training.
Statistics of normalisation layers are read between the ancestor's layers, as a straight line may turn a variance
negative. The width does not change.
"""

from typing import Literal

import torch
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.methods.base import ClosedForm, Tensors
from zoo.methods.whole import narrowed, only
from zoo.size import LegalSizes
from zoo.transforms.axes import interpolate

BASE, SLOPE, WHOLE = "base/", "slope/", "whole/"


class TLEG(ClosedForm, frozen=True):
    """No options."""

    name: Literal["tleg"] = "tleg"

    def legal(self, source: Architecture) -> LegalSizes:
        """The ancestor's width, any depth."""
        size = source.size
        return narrowed(source, "TLEG only changes the depth", width=only(size.width), mlp=only(size.mlp))

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """Base and slope of every repeated kind, by least squares; what stands alone as it is."""
        tensors: dict[str, Tensor] = {}
        for key, stack in stacks.items():
            if source.axes(key)[0].role != "layer" or source.kinds[key].statistic:
                tensors[WHOLE + key] = stack
            else:
                tensors[BASE + key], tensors[SLOPE + key] = _fit(stack)
        return tensors

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Read the line at the target's layers."""
        return {key: _read(tensors, key, target) for key in target.kinds}


def _fit(stack: Tensor) -> tuple[Tensor, Tensor]:
    """Least squares over the layers (of one layer: slope 0)."""
    t = _positions(len(stack), stack)
    inverse = torch.linalg.pinv(torch.stack([torch.ones_like(t), t], 1).double()).to(stack)
    base, slope = (inverse @ stack.flatten(1)).unflatten(1, stack.shape[1:])
    return base, slope


def _read(tensors: Tensors, key: str, target: Architecture) -> Tensor:
    first = target.axes(key)[0]
    if BASE + key in tensors:
        base, slope = tensors[BASE + key], tensors[SLOPE + key]
        return base + _positions(first.extent, base).view(-1, *[1] * base.ndim) * slope
    whole = tensors[WHOLE + key]
    return interpolate(whole, 0, first.extent) if first.role == "layer" else whole


def _positions(layers: int, like: Tensor) -> Tensor:
    return torch.arange(layers, device=like.device, dtype=like.dtype) / layers
