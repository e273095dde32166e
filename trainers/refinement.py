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
        self._low = {key: _low(module.arch.axes(key), spectrum) for key in module.arch.kinds}

    @classmethod
    def balanced(cls, task: Objective, module: Plain, data: Dataset, spectrum: Spectrum, share: float) -> "Refinement":
        """With the weight at which the penalty starts as `share` of the task's loss on held-out samples.

        Every worker measures the same samples, so all agree, also when an interrupted training goes on.
        Raises `BadInputError` for a spectrum that lets all frequencies through.
        """
        alone = World(0, 1, World.current().device)
        module.to(alone.device).eval()
        x, y = next(iter(data.evaluation(alone)))
        with torch.no_grad(), torch.random.fork_rng():
            torch.manual_seed(0)  # denoising draws its noise
            loss = task(module, to_device(x, alone.device), y.to(alone.device)).item()
            unweighted = cls(task, module, spectrum, 1.0)
            if all((w == 1).all() for low in unweighted._low.values() for w in low.values()):
                raise BadInputError(f"keep: {spectrum.keep} leaves no high frequencies to suppress; legal: below 1")
            penalty = unweighted.penalty().item()
        return cls(task, module, spectrum, share * loss / penalty)

    def penalty(self) -> Tensor:
        """The mean over kinds of the mean masked energy (a scalar, fp32)."""
        arch, weights = self._module.arch, dict(self._module.model.named_parameters())
        stacks = ((arch.stack_kind(key, weights).float(), low) for key, low in self._low.items() if low)
        return torch.stack([high_energy(stack, low) for stack, low in stacks]).mean()

    def __call__(self, forward: Forward, x: Inputs, y: Tensor) -> Tensor:
        """Task and penalty."""
        return self._task(forward, x, y) + self._weight * self.penalty()

    def sums(self, forward: Forward, x: Inputs, y: Tensor) -> dict[str, Tensor]:
        """Scores are those of the task alone."""
        return self._task.sums(forward, x, y)

    def scores(self, sums: Mapping[str, float]) -> dict[str, float]:
        """As the task's."""
        return self._task.scores(sums)


def _low(axes: tuple[Axis, ...], spectrum: Spectrum) -> dict[int, Tensor]:
    """What is let through of the maps of repeated layers; nothing for other kinds."""
    roles = {axis.role for axis in axes}
    if not {"layer", "out", "in"} <= roles:
        return {}
    return {i: spectrum.low(axis) for i, axis in enumerate(axes) if axis.role in ("layer", "out", "in")}
