"""`Family`: an architecture as a table. `Architecture`: that table at one size, with its tensors' shapes.

Every parameter of a family is a `Kind` with named axes, in the manner of einops:

    Kind("attn.qkv.weight", "(qkv head head_dim) <- width")

says: a matrix, `out <- in`, whose rows are q, k and v, each of all heads, each of `head_dim` channels. Methods
never see names of layers. They get, per kind, one *stack* over all layers in which every axis that changes with
the size stands alone: here `(layer, qkv, head head_dim, width)`, in the roles `(layer, part, out, in)`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, Literal

import torch
from pydantic import BaseModel
from torch import Tensor

from zoo.errors import BadInputError
from zoo.size import Size

Role = Literal["layer", "part", "out", "in", "fixed"]
"""`layer`, `out` and `in` scale with the size; `part` tells apart maps that share a tensor (q, k and v)."""
Stacks = Mapping[str, Tensor]
"""One tensor per kind, in the axes that `Architecture.axes` gives."""
Weights = dict[str, Tensor]
"""A state dict: tensors by the names that the real model uses."""

SCALING = frozenset({"width", "head", "head_dim", "mlp"})


@dataclass(frozen=True)
class Axis:
    """One axis of a stack: its name, its number of entries and its role."""

    name: str
    extent: int
    role: Role


@dataclass(frozen=True)
class Kind:
    """The tensors that play one role in every layer: a name and axes, `out <- in` for maps, `out` for vectors."""

    name: str
    axes: str

    @cached_property
    def dims(self) -> tuple[tuple[tuple[str, ...], Role], ...]:
        """For each dimension of the real tensor its factors (one name, or several in parentheses) and its role."""
        out, _, inn = self.axes.partition("<-")
        sides: tuple[tuple[str, Role], ...] = ((out, "out"), (inn, "in"))
        return tuple((group, role) for text, role in sides for group in _groups(text))

    @property
    def decays(self) -> bool:
        """Whether weight decay applies: to maps, not to biases, norms, tokens and position tables."""
        return "<-" in self.axes


@dataclass(frozen=True)
class Family:
    """An architecture as data. `kinds` repeat in every layer under `layer`; `outside` stand alone.

    `constants` gives the extents of the axes that no size changes (`patch`, `class` ...) from the config;
    `build` makes the real model on a device; `flops` counts one forward pass of one sample (2 per multiply-add).
    """

    name: str
    layer: str
    kinds: tuple[Kind, ...]
    outside: tuple[Kind, ...]
    config: type[BaseModel]
    constants: Callable[[Any], Mapping[str, int]]
    build: Callable[["Architecture", str], torch.nn.Module]
    flops: Callable[["Architecture"], int]


@dataclass(frozen=True)
class Architecture:
    """A family at one size, with its config (what sizes have in common: classes, image size ...)."""

    family: Family
    config: BaseModel
    size: Size
    _axes: dict[str, tuple[Axis, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def at(self, size: Size) -> "Architecture":
        """The same architecture at another size."""
        return self if size == self.size else Architecture(self.family, self.config, size)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """All kinds by key; the key of a repeated kind holds `{layer}`."""
        inside = {self.family.layer + kind.name: kind for kind in self.family.kinds}
        return inside | {kind.name: kind for kind in self.family.outside}

    def axes(self, key: str) -> tuple[Axis, ...]:
        """The axes of a kind's stack. Scaling factors that stand side by side in one dimension are one axis."""
        if key not in self._axes:
            layer = (Axis("layer", self.size.depth, "layer"),) if "{layer}" in key else ()
            dims = self.kinds[key].dims
            self._axes[key] = layer + tuple(axis for group, role in dims for axis in self._split(group, role))
        return self._axes[key]

    def stack(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather a state dict into stacks. Raises `BadInputError` naming the first tensors that do not fit."""
        self._check(weights)
        return {
            key: torch.stack([weights[name] for name in names]).view(self._stacked(key))
            if "{layer}" in key
            else weights[key].reshape(self._stacked(key))
            for key, names in self._names.items()
        }

    def unstack(self, stacks: Stacks) -> Weights:
        """The inverse of `stack`: a state dict of views into the stacks."""
        weights: Weights = {}
        for key, names in self._names.items():
            shape = self.shape(key)
            layers = (
                stacks[key].reshape(len(names), *shape).unbind() if "{layer}" in key else [stacks[key].reshape(shape)]
            )
            weights.update(zip(names, layers, strict=True))
        return weights

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of one real tensor of a kind."""
        return tuple(prod(self._extent(name) for name in group) for group, _ in self.kinds[key].dims)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the real model's state dict."""
        return {name: self.shape(key) for key, names in self._names.items() for name in names}

    def parameters(self) -> int:
        """How many numbers the model holds."""
        return sum(prod(shape) for shape in self.shapes().values())

    def flops(self) -> int:
        """Floating-point operations of one forward pass of one sample, 2 per multiply-add."""
        return self.family.flops(self)

    def build(self, device: str = "cpu") -> torch.nn.Module:
        """The real model with its library's own random start (nothing is computed on device `meta`)."""
        return self.family.build(self, device)

    def names(self, key: str) -> list[str]:
        """The real tensors of a kind, by layer."""
        return [key.format(layer=i) for i in range(self.size.depth)] if "{layer}" in key else [key]

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return {key: self.names(key) for key in self.kinds}

    @cached_property
    def _extents(self) -> dict[str, int]:
        size = self.size
        scaling = {"width": size.width, "head": size.heads, "head_dim": size.head_dim, "mlp": size.mlp}
        return scaling | dict(self.family.constants(self.config))

    def _extent(self, name: str) -> int:
        return int(name) if name.isdigit() else self._extents[name]

    def _split(self, group: tuple[str, ...], role: Role) -> list[Axis]:
        axes: list[Axis] = []
        for name in group:
            extent, scales = self._extent(name), name in SCALING
            if scales and axes and axes[-1].role == role:
                axes[-1] = Axis(f"{axes[-1].name} {name}", axes[-1].extent * extent, role)
            else:
                constant: Role = "part" if len(group) > 1 else "fixed"
                axes.append(Axis(name, extent, role if scales else constant))
        return axes

    def _stacked(self, key: str) -> tuple[int, ...]:
        return tuple(axis.extent for axis in self.axes(key))

    def _check(self, weights: Mapping[str, Tensor]) -> None:
        want = self.shapes()
        wrong = [
            f"{name} is {tuple(weights[name].shape) if name in weights else 'missing'}, expected {shape}"
            for name, shape in want.items()
            if name not in weights or tuple(weights[name].shape) != shape
        ] + [f"{name} is not in the table" for name in weights if name not in want]
        if wrong:
            more = f" (and {len(wrong) - 3} more)" if len(wrong) > 3 else ""
            raise BadInputError(f"weights do not fit family {self.family.name!r}: {'; '.join(wrong[:3])}{more}")


def _groups(text: str) -> list[tuple[str, ...]]:
    """Split `"a (b c) d"` into `[("a",), ("b", "c"), ("d",)]`."""
    groups: list[tuple[str, ...]] = []
    for piece in text.replace("(", " ( ").replace(")", " ) ").split("("):
        inner, closed, after = piece.rpartition(")")
        if closed:
            groups.append(tuple(inner.split()))
        groups.extend((name,) for name in after.split())
    return groups
