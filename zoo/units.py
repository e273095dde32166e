"""Which unit of a source axis every unit of a target axis comes from: what methods that copy units share.

Growing starts again from the first unit (`0 1 2 0 1`), shrinking keeps evenly spaced ones (`0 2 4`). An axis of heads
times channels maps heads and channels apart, so whole heads stay together. All axes of one length map alike, hence
all tensors agree on which channel is which.
"""

from typing import Literal

import torch
from torch import Tensor

from zoo.architecture import Architecture
from zoo.family import Axis
from zoo.transforms.axes import cycle


def origins(source: Axis, target: Axis) -> Tensor:
    """The source unit of every target unit, `(target.extent,)` int64."""
    units = torch.zeros(1, dtype=torch.int64)
    for before, after in zip(source.factors, target.factors, strict=True):
        i = torch.arange(after)
        chosen = i % before if after >= before else i * before // after
        units = (units[:, None] * before + chosen).flatten()
    return units


def copies(source: Axis, target: Axis) -> Tensor:
    """How often every source unit appears in the target, `(source.extent,)` int64."""
    return torch.bincount(origins(source, target), minlength=source.extent)


def take(x: Tensor, key: str, source: Architecture, target: Architecture) -> Tensor:
    """A stack with the units of its `out` and `in` axes copied or selected for `target`; values as they are."""
    changing = [change for change in _axes(key, source, target) if change[1].role in ("out", "in")]
    # Numbers are gathered one by one along the last axis, in whole rows along others: rows shrink first and grow last.
    for i, before, after in sorted(changing, key=lambda change: change[0] * (-1 if _grows(*change[1:]) else 1)):
        x = _pick(x, i, before, after)
    return x


def widen(x: Tensor, key: str, source: Architecture, target: Architecture) -> Tensor:
    """`take`, with inputs that now appear several times divided by their number (Net2Net, arXiv 1511.05641).

    A wider model then computes what the narrow one did: exactly so for whole multiples and heads of the same channels.
    Where an output is tied to the input embedding, the last scale before it (`feeds_tied`) is divided in its place.
    """
    kind = source.kinds[key]
    for i, before, after in _axes(key, source, target):
        divided = before.role == "in" or (before.role == "out" and kind.feeds_tied)
        if divided and _grows(before, after):
            x = x / copies(before, after).to(x).view(_along(i, x.ndim))
    return take(x, key, source, target)


def cancelling(noise: Tensor, key: str, source: Architecture, target: Architecture) -> Tensor:
    """`noise`, shaped as a stack of `target`, less its mean over the copies of every input of `source`.

    Added to a widened map it cancels in every sum, and the copies are no longer alike. Heads have the same channels at
    both sizes, so copies follow one another.
    """
    for i, before, after in _axes(key, source, target):
        if before.role == "in" and _grows(before, after):
            assert before.factors[1:] == after.factors[1:], (before, after)
            rounds = noise.split(before.extent, i)
            means = rounds[0].clone()
            for copy in rounds[1:]:
                means.narrow(i, 0, copy.shape[i]).add_(copy)
            means /= copies(before, after).to(noise).view(_along(i, noise.ndim))
            noise = noise - _pick(means, i, before, after)
    return noise


def copies_inputs(key: str, source: Architecture, target: Architecture) -> bool:
    """Whether inputs of this kind appear several times at `target`."""
    return any(a.role == "in" and _grows(a, b) for _, a, b in _axes(key, source, target))


def stack_layers(x: Tensor, key: str, target: Architecture) -> Tensor:
    """Layer `i` of `target` is layer `i mod L` of the stack (of L layers); what stands alone stays as it is."""
    first = target.axes(key)[0]
    return cycle(x, 0, first.extent) if first.role == "layer" else x


def insert_layers(x: Tensor, depth: int, new: Tensor | None = None, old: Literal["first", "last"] = "first") -> Tensor:
    """Layer `i` of M is layer `floor(i L / M)`; with `new`, only the `old` copy of a layer does, others are `new`."""
    origin = torch.arange(depth, device=x.device) * len(x) // depth
    grown = x.index_select(0, origin)
    if new is None:
        return grown
    beside = origin.diff(prepend=origin[:1] - 1) if old == "first" else origin.diff(append=origin[-1:] + 1)
    return torch.where((beside == 0).view(-1, *[1] * (x.ndim - 1)), new, grown)


def _axes(key: str, source: Architecture, target: Architecture) -> list[tuple[int, Axis, Axis]]:
    pairs = zip(source.axes(key), target.axes(key), strict=True)
    return [(i, before, after) for i, (before, after) in enumerate(pairs)]


def _grows(before: Axis, after: Axis) -> bool:
    return after.extent > before.extent


def _pick(x: Tensor, i: int, before: Axis, after: Axis) -> Tensor:
    """The units `origins` along axis `i`; where they repeat or skip evenly, without looking each one up."""
    if after.factors[1:] == before.factors[1:] and after.extent >= before.extent:
        return cycle(x, i, after.extent)
    if len(after.factors) == 1 and before.extent % after.extent == 0:
        return x[(slice(None),) * i + (slice(None, None, before.extent // after.extent),)]
    units = origins(before, after).to(x.device)
    # Whole rows are copied by `index_select`; single numbers it looks up several times slower than indexing does.
    return x[..., units] if i == x.ndim - 1 else x.index_select(i, units)


def _along(axis: int, ndim: int) -> list[int]:
    """The shape that lays a vector along one of `ndim` axes."""
    return [-1 if i == axis else 1 for i in range(ndim)]
