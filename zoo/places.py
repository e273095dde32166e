"""Where the units of an axis stand: an order of units is legal that is the same in all of these places."""

from zoo.architecture import Architecture

STREAM = "width"
"""The channels of the residual stream of a transformer; stages of convolutional networks have one each."""
HEAD = "head head_dim"


def places_of(name: str, arch: Architecture) -> list[tuple[str, int]]:
    """Every stack that has the axis, by key, and the axis's number there."""
    return [(key, i) for key in arch.kinds for i, axis in enumerate(arch.axes(key)) if axis.name == name]


def is_private(name: str, arch: Architecture) -> bool:
    """Whether every layer may order the units of this axis by itself: nothing else has them."""
    prefixes = {key.removesuffix(arch.kinds[key].name) for key, _ in places_of(name, arch)}
    return name != STREAM and len(prefixes) == 1 and "{layer}" in prefixes.pop()
