"""HyperCloning (Samragh et al., arXiv 2409.12903): a model whose width is a whole multiple, with the same outputs.

A map is tiled k_out x k_in times and divided by k_in, a vector is tiled: `W_target = 1/k_in [[W, W], [W, W]]`.
With `snr_db`, noise that cancels over the k_in copies of every input is added to the maps (the paper's "noisy
symmetric" cloning): the copies are no longer alike, the function stays. The depth does not change.
"""

from typing import Literal

import torch
from torch import Tensor

from zoo.architecture import Architecture
from zoo.methods.base import Tensors
from zoo.methods.whole import Whole, narrowed, only
from zoo.size import LegalSizes, Range
from zoo.units import cancelling, copies_inputs, widen


class HyperCloning(Whole, frozen=True):
    """Options: the ratio of signal to noise in decibels (None: no noise), and the seed of the noise."""

    name: Literal["hypercloning"] = "hypercloning"
    snr_db: float | None = None
    seed: int = 0

    def legal(self, source: Architecture) -> LegalSizes:
        """Whole multiples of the ancestor's width and MLP width, at its depth."""
        size = source.size
        multiples = {"width": Range(multiple=size.width), "mlp": Range(multiple=size.mlp)}
        why = "HyperCloning tiles whole models and keeps the depth"
        return narrowed(source, why, depth=only(size.depth), **multiples)

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Tile and divide; add noise where it is asked for."""
        generator = torch.Generator().manual_seed(self.seed)
        stacks: dict[str, Tensor] = {}
        for key in target.kinds:
            stacks[key] = widen(tensors[key], key, source, target)
            if self.snr_db is not None and copies_inputs(key, source, target):
                stacks[key] = stacks[key] + self._noise(stacks[key], key, source, target, generator)
        return stacks

    def _noise(
        self, x: Tensor, key: str, source: Architecture, target: Architecture, generator: torch.Generator
    ) -> Tensor:
        """Normal numbers of the wanted ratio to every single map; the projection takes its share of their energy."""
        assert self.snr_db is not None
        normal = cancelling(torch.randn(x.shape, generator=generator, dtype=x.dtype).to(x), key, source, target)
        dims = [i for i, axis in enumerate(target.axes(key)) if axis.role not in ("layer", "part")]
        power = x.square().mean(dims, keepdim=True) / normal.square().mean(dims, keepdim=True)
        return normal * power.sqrt() * 10 ** (-self.snr_db / 20)
