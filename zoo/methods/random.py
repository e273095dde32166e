"""The library's own random start, as a method: the baseline that inherits nothing."""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.methods.base import ClosedForm, Tensors


class Random(ClosedForm, frozen=True):
    """Options: the seed of the start."""

    inherits: ClassVar[bool] = False
    name: Literal["random"] = "random"
    seed: int = 0

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """Nothing is kept of the ancestor."""
        return {}

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """As timm or transformers would start the model."""
        return random_start(target, self.seed)


def random_start(arch: Architecture, seed: int) -> dict[str, Tensor]:
    """The stacks of a model as its library starts it under `seed`; the caller's generator is left alone."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return arch.stack(arch.own(arch.build().state_dict()))
