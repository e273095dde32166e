"""FRONT+ (arXiv 2603.07523): train weights on while the frequencies that FRONT will drop are pressed down."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Literal

import torch
from torch import Tensor

from trainers.dataset import Dataset
from trainers.inputs import Forward, Inputs, to_device
from trainers.objectives import Objective
from trainers.parametrization import Plain
from trainers.world import World
from zoo.errors import BadInputError
from zoo.family import Axis
from zoo.transforms.spectral import decay, high_energy, low_pass


@dataclass(frozen=True)
class Spectrum:
    """Which frequencies count as high: outside the corner `keep`, or the more the higher, at rate `gamma`."""

    keep: float = 0.5
    mask: Literal["hard", "soft"] = "hard"
    gamma: float = 4.0

    def low(self, axis: Axis) -> Tensor:
        """The share of every frequency of an axis that is let through, `(axis.extent,)`."""
        if self.mask == "soft":
            return decay(axis.extent, self.gamma)
        return low_pass(axis.extent, ceil(self.keep * axis.extent))


class Refinement(Objective):
    """`task + weight * mean over kinds of mean(mask * DCT(W)^2)`, over the maps of repeated layers.

    Args:
        task: the model's own loss.
        module: whose weights are looked at in every step.
        spectrum: the mask, `1 - prod over axes of low`.
        weight: lambda.
    """

    def __init__(self, task: Objective, module: Plain, spectrum: Spectrum, weight: float) -> None:
        self._task, self._module, self._weight = task, module, weight
        arch = module.arch
        self._low = {
            key: [
                (i, spectrum.low(axis)) for i, axis in enumerate(arch.axes(key)) if axis.role in ("layer", "out", "in")
            ]
            for key in arch.kinds
            if {"layer", "out", "in"} <= {axis.role for axis in arch.axes(key)}
        }

    @classmethod
    def balanced(cls, task: Objective, module: Plain, data: Dataset, spectrum: Spectrum, share: float) -> "Refinement":
        """With the weight at which the penalty starts as `share` of the task's loss on held-out samples.

        Every worker measures the same samples, so all agree, also when an interrupted training goes on.
        """
        alone = World(0, 1, World.current().device)
        module.to(alone.device).eval()
        x, y = next(iter(data.evaluation(alone)))
        with torch.no_grad():
            loss = task(module, to_device(x, alone.device), y.to(alone.device)).item()
            penalty = cls(task, module, spectrum, 0.0).penalty().item()
        if penalty <= 0:
            raise BadInputError(f"keep: {spectrum.keep} leaves no high frequencies to suppress; legal values: below 1")
        return cls(task, module, spectrum, share * loss / penalty)

    def penalty(self) -> Tensor:
        """The mean over kinds of the mean masked energy (a scalar, fp32)."""
        arch = self._module.arch
        weights = dict(self._module.model.named_parameters())
        energies = []
        for key, low in self._low.items():
            stack = arch.stack_kind(key, weights)
            energies.append(high_energy(stack, low) / stack.numel())
        return torch.stack(energies).mean()

    def __call__(self, forward: Forward, x: Inputs, y: Tensor) -> Tensor:
        """Task and penalty."""
        return self._task(forward, x, y) + self._weight * self.penalty()

    def sums(self, forward: Forward, x: Inputs, y: Tensor) -> dict[str, Tensor]:
        """Scores are those of the task alone."""
        return self._task.sums(forward, x, y)

    def scores(self, sums: Mapping[str, float]) -> dict[str, float]:
        """As the task's."""
        return self._task.scores(sums)
