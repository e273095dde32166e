"""FLOPs of a training (2 per multiply-add), counted on the real module: forward, backward, teacher and expansion."""

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from trainers.world import World
from zoo.size import Size


class Flops:
    """Adds up the FLOPs of optimizer steps, over all workers.

    Counting costs time, and steps that train the same size cost the same: each kind is counted when it first comes.
    Matrix products and convolutions count, elementwise arithmetic does not; nor does the scoring of held-out samples.
    """

    def __init__(self, world: World, before: float) -> None:
        """Go on from `before`."""
        self.total = before
        self._world = world
        self._of_size: dict[Size, int] = {}

    @contextmanager
    def step(self, size: Size) -> Iterator[None]:
        """Inside, one optimizer step is computed, which trains a model of `size`."""
        if size in self._of_size:
            yield
        else:
            with FlopCounter() as counter:
                yield
            self._of_size[size] = counter.flops
        self.total += self._of_size[size] * self._world.size


def _convolution_backward(grad: Tensor, x: Tensor, weight: Tensor, *_: Any, out_val: tuple[Tensor | None, ...]) -> int:
    """The gradients of inputs and of weights, where asked for, each cost what the forward pass did.

    Torch's formula counts those of weights as if there were no groups: of a depthwise map, as often as it has channels.
    """
    asked = sum(gradient is not None for gradient in out_val[:2])
    return asked * 2 * weight.numel() * prod((grad.shape[0], *grad.shape[2:]))


FORMULAS = {**flop_registry, torch.ops.aten.convolution_backward: _convolution_backward}


class FlopCounter(TorchDispatchMode):
    """Counts the `flops` of what runs inside, by torch's formulas but for one.

    Torch's own `FlopCounterMode` decomposes what it runs, which draws other random numbers.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        formula = FORMULAS.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=out)
        return out
