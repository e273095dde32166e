"""Net2Net (Chen et al., arXiv 1511.05641) for transformers: bert2BERT's FPI (Chen et al., arXiv 2110.07143).

Width: units are copied, and every input that now appears k times is divided by k, so the wider model computes the
same function: exactly for whole multiples of the width (else LayerNorm sees some channels more often than others) and
for any MLP width. The papers draw the units to copy at random; here they are taken in turn. Depth: the layers are
stacked, as bert2BERT does (`i mod L`); this does not keep the function.
"""

from typing import Literal

from torch import Tensor

from zoo.architecture import Architecture
from zoo.methods.base import Tensors
from zoo.methods.whole import Whole, narrowed
from zoo.size import LegalSizes, Range
from zoo.units import stack_layers, widen


class Net2Net(Whole, frozen=True):
    """No options."""

    name: Literal["net2net"] = "net2net"

    def legal(self, source: Architecture) -> LegalSizes:
        """Nothing smaller than the ancestor, heads of its channels."""
        size = source.size
        larger = {"depth": Range(min=size.depth), "width": Range(min=size.width), "mlp": Range(min=size.mlp)}
        return narrowed(source, "Net2Net only grows", **larger)

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Widen every layer, then stack the layers."""
        return {key: stack_layers(widen(tensors[key], key, source, target), key, target) for key in target.kinds}
