"""A network whose neighbouring units are alike: the same function, smoother weights.

The order of units in a trained network means nothing, yet FRONT and BoT resample axes as if neighbours were alike. Any
order is legal that is the same wherever an axis appears: one for the channels of the residual stream in all layers (of
a stage), one per layer for MLP units, for channels between two convolutions, for heads, and inside every head for the
channels of queries and keys, and of values and the output. `transforms.seriation` chooses them by z-scored weights, as
FRONT transforms them.
"""

from collections.abc import Callable, Collection, Iterator
from functools import partial

import torch
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.family import Axis
from zoo.places import HEAD, is_private, places_of
from zoo.transforms import seriation

Place = tuple[str, int]
"""A stack's key and the number of one of its axes."""
Views = Callable[[Stacks], list[Tensor]]
"""Into stacks, `(layer, ..., unit)`: what one order holds for, layer by layer."""


def seriated(stacks: Stacks, arch: Architecture, names: Collection[str] | None = None) -> dict[str, Tensor]:
    """New stacks of the same function in which neighbouring units are alike; dtypes as they were.

    names: the axes whose units are put in order; all that scale, if left out.
    """
    mine = {key: stack.clone() for key, stack in stacks.items()}
    signals = {key: _standard(stack, arch.axes(key)) for key, stack in stacks.items()}
    for views in _views(arch, names):
        order = seriation.alike(
            torch.cat([x.movedim(-1, 1).reshape(len(x), x.shape[-1], -1) for x in views(signals)], 2)
        )
        for x in (*views(signals), *views(mine)):
            index = order.view(len(order), *[1] * (x.ndim - 2), -1).expand(x.shape)
            x.copy_(x.gather(-1, index))
    return mine


def _standard(stack: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    dims = [i for i, axis in enumerate(axes) if axis.role not in ("layer", "part")]
    x = stack.float() - stack.float().mean(dims, keepdim=True)
    return x / x.square().mean(dims, keepdim=True).sqrt().clamp(min=torch.finfo(x.dtype).tiny)


def _views(arch: Architecture, names: Collection[str] | None) -> Iterator[Views]:
    """One for every set of units that may be ordered apart from all others; heads after their channels."""
    units = dict.fromkeys(axis.name for key in arch.kinds for axis in arch.axes(key) if axis.role in ("out", "in"))
    for name in units if names is None else names:
        places = places_of(name, arch)
        if name != HEAD:
            yield partial(_units, places, private=is_private(name, arch))
            continue
        for head in range(arch.size.heads):
            yield partial(_channels, places, arch, head, ("query", "key"))
            yield partial(_channels, places, arch, head, ("value", "out"))
        yield lambda stacks, places=places: [_by_head(stacks[key], i, arch).mT for key, i in places]


def _units(places: list[Place], stacks: Stacks, *, private: bool) -> list[Tensor]:
    views = [stacks[key].movedim(i, -1) for key, i in places]
    return views if private else [x.unsqueeze(0) for x in views]


def _channels(
    places: list[Place], arch: Architecture, head: int, maps: Collection[str], stacks: Stacks
) -> list[Tensor]:
    """The channels of one head in these attention maps and their biases."""
    views: list[Tensor] = []
    for key, i in places:
        x, attention = stacks[key], arch.kinds[f"{key.rpartition('.')[0]}.weight"].attention
        if attention == "qkv":
            part = [axis.role for axis in arch.axes(key)].index("part")
            held = [number for number, name in enumerate(("query", "key", "value")) if name in maps]
            x = x.narrow(part, held[0], len(held))
        if attention == "qkv" or attention in maps:
            views.append(_by_head(x, i, arch)[..., head, :])
    return views


def _by_head(x: Tensor, i: int, arch: Architecture) -> Tensor:
    """`(layer, ..., head, channel)`."""
    return x.movedim(i, -1).unflatten(-1, (arch.size.heads, arch.size.head_dim))
