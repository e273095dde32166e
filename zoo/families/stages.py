"""What convolutional networks of several stages share: stage i has `2**i` times the channels of the first."""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from torch import nn

from zoo.architecture import Architecture
from zoo.errors import BadInputError


def apportion(depth: int, pattern: Sequence[int], least: int) -> tuple[int, ...]:
    """Split `depth` blocks over the stages in the proportions of `pattern`, at least `least` to each stage.

    Webster's divisor method: exact where `depth` is a multiple of the pattern (and that leaves every stage `least`),
    and no stage loses a block when the depth grows.
    """
    assert depth >= least * len(pattern), (depth, pattern, least)
    blocks = [least] * len(pattern)
    for _ in range(depth - sum(blocks)):
        neediest = max(range(len(pattern)), key=lambda i: pattern[i] / (2 * blocks[i] + 1))
        blocks[neediest] += 1
    return tuple(blocks)


def channels(times: int, place: str) -> str:
    """The axis of `times` times the width whose units are those of `place` alone, as tables write it."""
    return f"{times}*width:{place}"


def flops(arch: Architecture, places: Callable[[str], int]) -> int:
    """One forward pass: every number of a map is used once at each of the `places` where the map is read."""
    maps = [key for key, kind in arch.kinds.items() if kind.decays]
    return 2 * sum(len(arch.names(key)) * prod(arch.shape(key)) * places(key) for key in maps)


def image_side(model: nn.Module) -> int:
    """The side of the images that a timm model was made for; its tensors do not tell. Raises `BadInputError`."""
    made_for: Any = model.pretrained_cfg
    _, height, width = made_for["input_size"]
    if height != width:
        raise BadInputError(f"images must be square, got images of {height}x{width}")
    return height
