"""Stretching one axis of a tensor to another length: interpolation, and repeating units without changing sums."""

import torch
from torch import Tensor


def interpolate(x: Tensor, axis: int, length: int) -> Tensor:
    """Read `x` at `length` evenly spaced points along `axis`, first and last entries kept (linear)."""
    source = x.shape[axis]
    if length == source:
        return x
    at = torch.linspace(0, source - 1, length, dtype=torch.float64, device=x.device)
    low = at.floor().long()
    high = (low + 1).clamp(max=source - 1)
    shape = [1] * x.ndim
    shape[axis] = length
    share = (at - low).to(x.dtype).view(shape)
    return torch.lerp(x.index_select(axis, low), x.index_select(axis, high), share)


def cycle(x: Tensor, axis: int, length: int) -> Tensor:
    """The first `length` entries along `axis`; past the end they start again from the first."""
    source = x.shape[axis]
    if length == source:
        return x
    if length < source:
        return x.narrow(axis, 0, length)
    return torch.cat([x] * (length // source) + [x.narrow(axis, 0, length % source)], axis)


def cycle_inputs(x: Tensor, axis: int, length: int) -> Tensor:
    """Like `cycle` for an axis that is summed over: every entry is divided by how often it now appears.

    A map whose inputs were repeated by `cycle` then gives the same outputs as before (Net2Net, arXiv 1511.05641).
    """
    source = x.shape[axis]
    repeated = cycle(x, axis, length)
    if length <= source:
        return repeated
    unit = torch.arange(length, device=x.device) % source
    copies = torch.bincount(unit, minlength=source)[unit].to(x.dtype)
    shape = [1] * x.ndim
    shape[axis] = length
    return repeated / copies.view(shape)
