"""LiGO (Wang et al., arXiv 2303.00980, ICLR 2023): learned linear growth.

A target's weights are linear in the ancestor's: `W_target[i] = sum_j w[i, j] B W[j] A^T`. The width operators B (for
outputs) and A (for inputs) belong to an axis and are shared by all maps and layers that have it, so all agree on what a
channel is; the depth operators w belong to a kind. The paper fits them to the task for about 100 steps; the ancestor
stays as it is.

Start: B copies units as Net2Net does, with a little noise where it grows, which tells copies apart, A divides by the
copies, w stacks layers. Without noise, a whole multiple of the width computes at first what the ancestor does. (The
paper ties A to B; apart, they can divide.) Statistics of normalisation layers, which no operator may turn negative,
are copied.
"""

from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.family import Axis, Kind
from zoo.methods.base import ClosedForm, Fitted, Tensors
from zoo.units import copies, origins, stack_layers, take

ANCESTOR, OPERATORS = "ancestor/", "operators/"
Lookups = dict[str, tuple[Tensor, Tensor | None]]


class Ligo(ClosedForm, Fitted, frozen=True):
    """Options: the norm of the noise in every row of B beside the unit that the row copies, and its seed."""

    name: Literal["ligo"] = "ligo"
    noise: NonNegativeFloat = 0.03
    seed: int = 0

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """The ancestor; there are no operators yet."""
        return {ANCESTOR + key: stack for key, stack in stacks.items()}

    def shared(self, name: str) -> bool:
        """The ancestor serves all sizes; operators are fitted."""
        return name.startswith(ANCESTOR)

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Apply the operators to the ancestor: those that are there, then those that lead on to `target`."""
        here = self.resize(tensors, source, target)
        lookups = _lookups(here)
        return {key: _grow(here, lookups, key, target) for key in target.kinds}

    def resize(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """The ancestor and the operators that lead to `target`, at their start.

        A learngene that was fitted to `source` becomes the ancestor of `target`.
        """
        if source.size == target.size:
            return dict(tensors)
        lookups = _lookups(tensors)
        ancestor = {ANCESTOR + key: _grow(tensors, lookups, key, source) for key in source.kinds}
        for key, kind in target.kinds.items():
            if kind.statistic:
                x = take(ancestor[ANCESTOR + key], key, source, target)
                ancestor[ANCESTOR + key] = stack_layers(x, key, target)
        return ancestor | self._operators(source, target, like=next(iter(tensors.values())))

    def _operators(self, source: Architecture, target: Architecture, like: Tensor) -> dict[str, Tensor]:
        """One operator for every axis that changes."""
        operators: dict[str, Tensor] = {}
        generator = torch.Generator().manual_seed(self.seed)
        for key, kind in target.kinds.items():
            for before, after in zip(source.axes(key), target.axes(key), strict=True):
                name = _operator(key, kind, after)
                if before != after and name not in operators and not kind.statistic:
                    operators[name] = self._start(name, before, after, generator).to(like)
        return operators

    def _start(self, name: str, before: Axis, after: Axis, generator: torch.Generator) -> Tensor:
        """`(target, source)` float64: which unit or layer is copied; noise or division as the role asks."""
        layers = torch.arange(after.extent) % before.extent
        units = layers if after.role == "layer" else origins(before, after)
        copying = torch.nn.functional.one_hot(units, before.extent).double()
        if name.startswith(OPERATORS + "in/"):
            return copying / copies(before, after).clamp(min=1)
        if name.startswith(OPERATORS + "out/") and after.extent > before.extent:
            random = torch.randn(copying.shape, generator=generator, dtype=torch.float64)
            return copying + self.noise / before.extent**0.5 * random
        return copying


def _operator(key: str, kind: Kind, axis: Axis) -> str:
    """The name of the operator of an axis; a scale before a tied output is divided like inputs are."""
    if axis.role == "layer":
        return f"{OPERATORS}layer/{key}"
    role = "in" if axis.role == "out" and kind.feeds_tied else axis.role
    return f"{OPERATORS}{role}/{axis.name}"


def _grow(tensors: Tensors, lookups: Lookups, key: str, target: Architecture) -> Tensor:
    """A kind's stack at `target`: the ancestor's, with the operators that there are for its axes."""
    x, kind = tensors[ANCESTOR + key], target.kinds[key]
    if kind.statistic:
        return x
    # Layers that are added come last: less is multiplied before.
    added = [axis.role == "layer" and axis.extent > x.shape[i] for i, axis in enumerate(target.axes(key))]
    for i in sorted(range(x.ndim), key=added.__getitem__):
        name = _operator(key, kind, target.axes(key)[i])
        if name in tensors:
            x = _look_up(x, i, *lookups[name]) if name in lookups else _multiply(x, i, tensors[name])
    return x


def _lookups(tensors: Tensors) -> Lookups:
    """Of operators with one number in every row, as most are at the start: where it is, and the number."""
    lookups: Lookups = {}
    for name, operator in tensors.items():
        if name.startswith(OPERATORS) and not (operator.requires_grad or operator.is_meta):
            numbers, units = operator.max(1)
            if operator.count_nonzero() == len(operator) and numbers.all():
                lookups[name] = units, None if (numbers == 1).all() else numbers
    return lookups


def _look_up(x: Tensor, axis: int, units: Tensor, numbers: Tensor | None) -> Tensor:
    picked = x[..., units] if axis == x.ndim - 1 else x.index_select(axis, units)
    return picked if numbers is None else picked * numbers.view(-1, *[1] * (x.ndim - axis - 1))


def _multiply(x: Tensor, axis: int, operator: Tensor) -> Tensor:
    if axis == x.ndim - 1:
        return x @ operator.mT
    return (operator @ x.flatten(axis + 1)).unflatten(-1, x.shape[axis + 1 :])
