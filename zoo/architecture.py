"""`Architecture`: a family at one size, with its tensors' shapes, and the way between state dicts and stacks.

Methods never see names of layers. They get, per kind, one *stack* over all layers in which every axis that changes
with the size stands alone, outputs before inputs: for `(qkv head head_dim) <- width` the stack has the axes
`(layer, qkv, head head_dim, width)` in the roles `(layer, part, out, in)`.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any, cast

import torch
from pydantic import BaseModel
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook
from torch.overrides import TorchFunctionMode

from zoo.errors import BadInputError
from zoo.family import SCALING, Axis, Family, Kind, Role, Segment, Table
from zoo.size import LegalSizes, Range, Size

Stacks = Mapping[str, Tensor]
"""One tensor per kind, in the axes that `Architecture.axes` gives."""
Weights = dict[str, Tensor]
"""A state dict: tensors by the names that the real model uses, a tied one under one name only."""


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

    @property
    def legal(self) -> LegalSizes:
        """The sizes of the family, with this size's proportions as defaults."""
        least = Range(min=self.family.least_depth(self.config))
        size = self.size
        widths, why = self.family.widths(self.config)
        ratio = size.mlp / size.width
        return LegalSizes(depth=least, width=widths, head_dim=size.head_dim, mlp_ratio=ratio, why=why)

    @cached_property
    def table(self) -> Table:
        """The family's table under this config."""
        return self.family.table(self.config)

    @cached_property
    def kinds(self) -> dict[str, Kind]:
        """All kinds by key; the key of a repeated kind holds `{layer}`."""
        inside = {segment.prefix + kind.name: kind for segment in self.table.segments for kind in segment.kinds}
        return inside | {kind.name: kind for kind in self.table.outside}

    def axes(self, key: str) -> tuple[Axis, ...]:
        """The axes of a kind's stack. Scaling factors that stand side by side in one dimension are one axis."""
        if key not in self._axes:
            layer = (Axis("layer", n := len(self.names(key)), "layer", (n,)),) if "{layer}" in key else ()
            stored = self._stored(key)
            self._axes[key] = layer + tuple(stored[i] for i in self._outputs_first(key))
        return self._axes[key]

    def stack(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gather a state dict into stacks. Raises `BadInputError` naming the first tensors that do not fit."""
        self._check(weights)
        return {key: self.stack_kind(key, weights) for key in self.kinds}

    def stack_kind(self, key: str, weights: Mapping[str, Tensor]) -> Tensor:
        """The stack of one kind."""
        names = self._names[key]
        whole = torch.stack([weights[name] for name in names]) if "{layer}" in key else weights[names[0]]
        return whole.reshape(self._layers(key) + self._extents_stored(key)).permute(self._to_stack(key))

    def unstack(self, stacks: Stacks) -> Weights:
        """The inverse of `stack`: a state dict, of views into the stacks where the layout allows."""
        weights: Weights = {}
        for key, names in self._names.items():
            stored = stacks[key].permute(_inverse(self._to_stack(key)))
            whole = stored.reshape(self._layers(key) + self.shape(key))
            weights.update(zip(names, whole.unbind() if "{layer}" in key else [whole], strict=True))
        return weights

    def shape(self, key: str) -> tuple[int, ...]:
        """The shape of one real tensor of a kind."""
        return tuple(prod(self._extent(name) for name in group) for group, _ in self.kinds[key].dims)

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of every tensor of the real model's state dict (tied ones once, counters left out)."""
        return {name: self.shape(key) for key, names in self._names.items() for name in names}

    def parameters(self) -> int:
        """How many trainable numbers the model holds."""
        kinds = self.kinds.items()
        return sum(len(self._names[key]) * prod(self.shape(key)) for key, kind in kinds if not kind.statistic)

    def flops(self) -> int:
        """Floating-point operations of one forward pass of one sample, 2 per multiply-add."""
        return self.family.flops(self)

    def build(self) -> nn.Module:
        """The real model with its library's own random start."""
        return self.family.build(self)

    def skeleton(self) -> nn.Module:
        """The real model with parameters on device `meta`: nothing is computed for them, buffers are real."""
        with _parameters_on_meta():
            return self.family.build(self)

    def assemble(self, weights: Weights) -> nn.Module:
        """The real model that owns these very tensors (no copies), ties kept. Raises `BadInputError`."""
        self._check(weights)
        model = self.skeleton()
        whole = {name: tensor.contiguous() for name, tensor in weights.items()}  # libraries save nothing else
        result = model.load_state_dict(whole, assign=True, strict=False)
        left = [key for key in result.missing_keys if key not in self.table.ties and not self._counts(key)]
        assert not left, left
        assert not result.unexpected_keys, result.unexpected_keys
        for alias, name in self.table.ties.items():
            place, _, attribute = alias.rpartition(".")
            setattr(model.get_submodule(place), attribute, model.get_parameter(name))
        return model

    def own(self, state: Mapping[str, Tensor]) -> Weights:
        """A real model's state dict without the second names of tied tensors and without counters."""
        return {name: t for name, t in state.items() if name not in self.table.ties and not self._counts(name)}

    def names(self, key: str) -> list[str]:
        """The real tensors of a kind, by layer."""
        segment = self._segments.get(key)
        if segment is None or "{layer}" not in key:
            return [key]
        last = self.family.depths(self.config, self.size.depth)[segment.stage]
        return [key.format(layer=i) for i in range(segment.first, last)]

    def stage(self, key: str) -> int | None:
        """The stage whose layers a kind belongs to; None for what stands outside of them."""
        segment = self._segments.get(key)
        return None if segment is None else segment.stage

    @cached_property
    def _segments(self) -> dict[str, Segment]:
        return {segment.prefix + kind.name: segment for segment in self.table.segments for kind in segment.kinds}

    @cached_property
    def _names(self) -> dict[str, list[str]]:
        return {key: self.names(key) for key in self.kinds}

    @cached_property
    def _extents(self) -> dict[str, int]:
        size = self.size
        scaling = {"width": size.width, "head": size.heads, "head_dim": size.head_dim, "mlp": size.mlp}
        return scaling | dict(self.family.constants(self.config))

    def _extent(self, name: str) -> int:
        times, _, base = _count(name).rpartition("*")
        return int(times or 1) * (int(base) if base.isdigit() else self._extents[base])

    def _stored(self, key: str) -> list[Axis]:
        """The axes of one tensor in the order of its memory."""
        return [axis for group, role in self.kinds[key].dims for axis in self._split(group, role)]

    def _split(self, group: tuple[str, ...], role: Role) -> list[Axis]:
        axes: list[Axis] = []
        for name in group:
            extent, scales = self._extent(name), _count(name).rpartition("*")[2] in SCALING
            if scales and axes and axes[-1].role == role:
                before = axes[-1]
                axes[-1] = Axis(f"{before.name} {name}", before.extent * extent, role, (*before.factors, extent))
            else:
                constant: Role = "part" if len(group) > 1 else "fixed"
                axes.append(Axis(name, extent, role if scales else constant, (extent,)))
        return axes

    def _extents_stored(self, key: str) -> tuple[int, ...]:
        return tuple(axis.extent for axis in self._stored(key))

    def _layers(self, key: str) -> tuple[int, ...]:
        return (len(self._names[key]),) if "{layer}" in key else ()

    def _to_stack(self, key: str) -> list[int]:
        """The permutation from the order of memory to that of the stack."""
        lead = len(self._layers(key))
        return [*range(lead), *(lead + i for i in self._outputs_first(key))]

    def _outputs_first(self, key: str) -> list[int]:
        kind, count = self.kinds[key], len(self._stored(key))
        inputs = [axis for group, role in kind.dims if role == "in" for axis in self._split(group, role)]
        first = len(inputs) if "->" in kind.axes else 0
        return [*range(first, count), *range(first)]

    def _counts(self, name: str) -> bool:
        return name.endswith(self.table.counters) if self.table.counters else False

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


@contextmanager
def _parameters_on_meta() -> Iterator[None]:
    """Modules that are made inside get parameters without memory; initialising those costs nothing."""

    def to_meta(_module: nn.Module, _name: str, parameter: nn.Parameter) -> nn.Parameter:
        return parameter if parameter.is_meta else nn.Parameter(parameter.to("meta"), parameter.requires_grad)

    # torch annotates the hook as if it could not return the parameter to register
    handle = register_module_parameter_registration_hook(cast(Callable[..., None], to_meta))
    try:
        with _Unset():
            yield
    finally:
        handle.remove()


class _Unset(TorchFunctionMode):
    """Random starts do nothing to tensors without memory; on `meta` torch takes longer for them than for small ones."""

    starts = frozenset({Tensor.uniform_, Tensor.normal_, Tensor.erfinv_, Tensor.mul_, Tensor.add_, Tensor.clamp_})

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in self.starts and args[0].is_meta:
            return args[0]
        return func(*args, **(kwargs or {}))


def _count(name: str) -> str:
    """Of an axis's name what tells how many entries it has."""
    return name.partition(":")[0]


def _inverse(order: list[int]) -> list[int]:
    return sorted(range(len(order)), key=order.__getitem__)
