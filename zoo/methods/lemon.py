"""LEMON (Wang et al., arXiv 2310.07999, ICLR 2024): a larger model with the same outputs and no two units alike.

Width: units are copied; the weights of the k copies of an input are `W/k + R - mean(R over the copies)`, which add up
to W. R are random numbers (the paper: the wide model's own random start; here: normal, with the spread of every single
map of the ancestor), so the copies part ways in training. Exact for whole multiples of the width and any MLP width.
For other widths the paper scales the epsilon of LayerNorm, which a checkpoint of the family cannot carry: refused.

Depth: every new block follows the block it copies and adds nothing, because the maps that close its branches
(`Kind.closes_branch`) are zero. That needs blocks which normalise before their maps; elsewhere the depth stays.
"""

from typing import Literal

import torch
from torch import Tensor

from zoo.architecture import Architecture
from zoo.methods.base import Tensors
from zoo.methods.whole import Whole, narrowed, only
from zoo.size import LegalSizes, Range
from zoo.units import cancelling, copies_inputs, insert_layers, widen


class Lemon(Whole, frozen=True):
    """Options: the seed of the unequal split."""

    name: Literal["lemon"] = "lemon"
    seed: int = 0

    def legal(self, source: Architecture) -> LegalSizes:
        """Whole multiples of the width, any larger MLP width; deeper where blocks are `x + f(norm(x))`."""
        size, deepens = source.size, source.family.residual == "pre"
        depth = "any larger depth" if deepens else "the same depth where norms stand behind the blocks"
        ranges = {
            "depth": Range(min=size.depth) if deepens else only(size.depth),
            "width": Range(multiple=size.width),
            "mlp": Range(min=size.mlp),
        }
        return narrowed(source, f"LEMON keeps the function: whole multiples of the width, {depth}", **ranges)

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Insert the new blocks, widen, and split the copied inputs unequally."""
        generator = torch.Generator().manual_seed(self.seed)
        stacks: dict[str, Tensor] = {}
        for key, kind in target.kinds.items():
            x, first = tensors[key], target.axes(key)[0]
            if first.role == "layer" and first.extent > len(x):
                x = insert_layers(x, first.extent, x.new_zeros(()) if kind.closes_branch else None)
            stacks[key] = widen(x, key, source, target)
            if copies_inputs(key, source, target):
                dims = [i for i, axis in enumerate(source.axes(key)) if axis.role not in ("layer", "part")]
                std = x.std(dims, correction=0, keepdim=True)
                # Layer by layer: the noise of one map stays in the cache.
                layers = target.axes(key)[0].extent if target.axes(key)[0].role == "layer" else 1
                for layer in range(layers):
                    part, spread = (t.narrow(0, layer, t.shape[0] // layers) for t in (stacks[key], std))
                    normal = torch.randn(part.shape, generator=generator, dtype=x.dtype).to(x)
                    part.addcmul_(cancelling(normal, key, source, target), spread)
        return stacks
