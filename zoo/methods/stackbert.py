"""StackBERT (Gong et al., ICML 2019, "Efficient Training of BERT by Progressively Stacking"): layers, repeated.

`W_target[i] = W[i mod L]`: the paper doubles the depth; any depth from L on is served. The width does not change.
"""

from typing import Literal

from torch import Tensor

from zoo.architecture import Architecture
from zoo.methods.base import Tensors
from zoo.methods.whole import Whole, narrowed, only
from zoo.size import LegalSizes, Range
from zoo.units import stack_layers


class StackBERT(Whole, frozen=True):
    """No options."""

    name: Literal["stackbert"] = "stackbert"

    def legal(self, source: Architecture) -> LegalSizes:
        """The ancestor's width, no fewer layers."""
        size = source.size
        fixed = {"width": only(size.width), "mlp": only(size.mlp)}
        return narrowed(source, "StackBERT only adds layers", depth=Range(min=size.depth), **fixed)

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Repeat the stack of layers."""
        return {key: stack_layers(tensors[key], key, target) for key in target.kinds}
