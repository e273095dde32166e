"""mu-pscaling (arXiv 2602.10545, ICML 2026): a wider model that computes what the narrow one does, also when trained.

Units are repeated. A tensor whose outputs appear `k_out` times and whose inputs appear `k_in` times (1 for an axis that
does not grow) becomes `W_wide = tile(W) / s`, and its gradient then is `G_wide = g tile(G)`:

    maps, vectors and embeddings    s = k_in     g = 1/k_out
    scales before a tied output     s = k_out    g = 1

The second row (`Kind.feeds_tied`): a table that is both input and output cannot be divided by its copies for the
output alone, so what is multiplied with it is divided in its place; the table itself is an embedding. Every hidden
unit's gradient is the narrow one's over its copies, but for those between that scale and the table.

An optimizer scaled by s and g keeps the equality through training (`trainers.scaled`, with the derivation), so
without noise the wide model learns no more than the narrow one would: it is `noise` that lets copies part ways. Noise
and learning rate tuned for widths n -> k n hold for N -> k N.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from zoo.architecture import Architecture, Weights
from zoo.methods.base import Tensors
from zoo.methods.whole import Whole, narrowed, only
from zoo.size import LegalSizes, Range
from zoo.units import take


@dataclass(frozen=True)
class Multipliers:
    """What widening does to a tensor: values are divided by `s`, gradients multiplied by `g`, numbers repeated."""

    s: float
    g: float
    copies: int
    """How often every number of the narrow tensor appears."""


class MuPScaling(Whole, frozen=True):
    """Options: the size of the symmetry-breaking noise, and its seed.

    The standard deviation of the noise is `noise / sqrt(fan_in)` for maps between widths (fan-in of the wide map),
    `noise` for maps of inputs and for embeddings, 0 for biases, norms and outputs. What is not repeated has none.
    """

    name: Literal["mupscaling"] = "mupscaling"
    noise: NonNegativeFloat = 0.0
    seed: int = 0

    def legal(self, source: Architecture) -> LegalSizes:
        """Whole multiples of the ancestor's width and MLP width, at its depth."""
        size = source.size
        multiples = {"width": Range(multiple=size.width), "mlp": Range(multiple=size.mlp)}
        return narrowed(source, "mu-pscaling repeats units and keeps the depth", depth=only(size.depth), **multiples)

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """`tile(W) / s`, plus noise."""
        generator = torch.Generator().manual_seed(self.seed)
        stacks: dict[str, Tensor] = {}
        for key, m in multipliers(source, target).items():
            stacks[key] = take(tensors[key] / m.s, key, source, target)
            std = self._std(key, target) if m.copies > 1 else 0.0
            if std:
                normal = torch.randn(stacks[key].shape, generator=generator, dtype=stacks[key].dtype)
                stacks[key] = stacks[key] + std * normal.to(stacks[key])
        return stacks

    def _std(self, key: str, target: Architecture) -> float:
        axes, is_map = target.axes(key), target.kinds[key].decays
        roles = [axis.role for axis in axes]
        if "out" not in roles or not (is_map or "fixed" in roles):
            return 0.0
        if "in" not in roles:
            return self.noise
        return self.noise / prod(axis.extent for axis in axes if axis.role in ("in", "fixed")) ** 0.5


def multipliers(source: Architecture, target: Architecture) -> dict[str, Multipliers]:
    """The multipliers of every kind, by key."""
    return {key: _multipliers(key, source, target) for key in target.kinds}


def named_multipliers(source: Architecture, target: Architecture) -> dict[str, Multipliers]:
    """The multipliers of every tensor, by its name in the real model."""
    by_key = multipliers(source, target)
    return {name: m for key, m in by_key.items() for name in target.names(key)}


def tiled(tensors: Mapping[str, Tensor], source: Architecture, target: Architecture) -> Weights:
    """`tile(x)` of named tensors of one dtype, all of a kind or none: weights, gradients, states of an optimizer."""
    like = next(iter(tensors.values()))
    absent = {name: like.new_zeros(()).expand(shape) for name, shape in source.shapes().items() if name not in tensors}
    stacks = source.stack({**absent, **tensors})
    wide = target.unstack({key: take(stack, key, source, target) for key, stack in stacks.items()})
    return {name: wide[name] for name in tensors}


def _multipliers(key: str, source: Architecture, target: Architecture) -> Multipliers:
    k = {"out": 1, "in": 1}
    for before, after in zip(source.axes(key), target.axes(key), strict=True):
        if before.role in k:
            k[before.role] *= after.extent // before.extent
    copies = k["out"] * k["in"]
    if source.kinds[key].feeds_tied:
        return Multipliers(s=copies, g=1.0, copies=copies)
    return Multipliers(s=k["in"], g=1 / k["out"], copies=copies)
