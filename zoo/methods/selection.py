"""Weight Selection (Xu et al., arXiv 2311.18823, ICLR 2024): a small model starts from a part of a large one's numbers.

The first layers, and of every axis evenly spaced units: `W_target = W[l, s_out, s_in]` with `s_i = floor(i N / M)`
for N units of the ancestor and M of the target. The published code selects rows of the fused q, k and v blindly; here
whole heads are selected, and the same channels of every head.
"""

from typing import Literal

from torch import Tensor

from zoo.architecture import Architecture
from zoo.methods.base import Tensors
from zoo.methods.whole import Whole, narrowed
from zoo.size import LegalSizes, Range
from zoo.units import stack_layers, take


class Selection(Whole, frozen=True):
    """No options."""

    name: Literal["selection"] = "selection"

    def legal(self, source: Architecture) -> LegalSizes:
        """Nothing larger than the ancestor."""
        size = source.size
        smaller = {"depth": Range(max=size.depth), "width": Range(max=size.width), "mlp": Range(max=size.mlp)}
        return narrowed(source, "weight selection only takes away", **smaller)

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Select layers, then units."""
        return {key: take(stack_layers(tensors[key], key, target), key, source, target) for key in target.kinds}
