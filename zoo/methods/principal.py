"""FRONT in the network's own order (ours; see `zoo.order`): what matters most is kept, growing keeps the function.

The learngene is the trained network with its units ranked by importance and, in transformers, its stream as
coefficients of cosines: the low frequencies of FRONT (arXiv 2603.07523) in a basis in which the energy is low
(principal directions where the stream is only read through LayerNorm, else an order in which neighbours are alike).
A smaller model takes the first units and coefficients and the most important layers. A larger one copies units, with
inputs split unequally among copies (LEMON, arXiv 2310.07999); gives a rotated stream silent new frequencies, which maps
read with random weights; and inserts layers that add nothing at first. So it computes what the ancestor did: exactly
where the stream is rotated (or widened by whole multiples, or not at all), but for the last scale of a GPT-2.
"""

from math import ceil, sqrt
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field, NonNegativeFloat
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.family import Axis, Kind
from zoo.methods.base import ClosedForm, Tensors
from zoo.methods.whole import narrowed, only
from zoo.order import layer_importance, ordered, resamples
from zoo.places import STREAM
from zoo.size import LegalSizes
from zoo.transforms import dct
from zoo.transforms.axes import cycle, cycle_inputs
from zoo.units import insert_layers

LAYERS = "importance/"


class Principal(ClosedForm, frozen=True):
    """keep: the share of a transformer stream's coefficients that the learngene holds.

    noise: how unequal copies and how large the weights on silent inputs are, in standard deviations of the map; seed.
    """

    version: ClassVar[int] = 3
    name: Literal["principal"] = "principal"
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0
    noise: NonNegativeFloat = 0.5
    seed: int = 0

    def legal(self, source: Architecture) -> LegalSizes:
        """Any size with heads of the ancestor's channels; the same depth where blocks are not residual."""
        if source.family.residual is None:
            why = "layers that are no residual blocks are neither left out nor added"
            return narrowed(source, why, depth=only(source.size.depth))
        return narrowed(source, "heads are kept whole")

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """Ranked stacks, the stream as coefficients, and the importance of layers."""
        tensors = {LAYERS + prefix: x for prefix, x in layer_importance(stacks, source).items()}
        for key, stack in ordered(stacks, source).items():
            kept = {i: ceil(self.keep * axis.extent) for i, axis in self._stream(key, source)}
            tensors[key] = dct.forward(stack, list(kept), list(kept.values())).contiguous() if kept else stack
        return tensors

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Layers, then units, then the stream."""
        generator = torch.Generator().manual_seed(self.seed)
        return {key: self._expand_kind(key, tensors, source, target, generator) for key in target.kinds}

    def _expand_kind(
        self, key: str, tensors: Tensors, source: Architecture, target: Architecture, generator: torch.Generator
    ) -> Tensor:
        kind, before, after = source.kinds[key], source.axes(key), target.axes(key)
        x = tensors[key]
        if after[0].role == "layer" and after[0].extent <= len(x):
            x = _chosen(x, tensors[LAYERS + key.removesuffix(kind.name)], after[0].extent)
        elif after[0].role == "layer":
            old = "last" if kind.behind_sum == "last" else "first"
            x = insert_layers(x, after[0].extent, _adding_nothing(kind, x, source.size.width), old=old)
        spread = self.noise * _spread(x, after)
        stream = dict(self._stream(key, target))
        for i, axis in enumerate(after):
            if i in stream and (target.family.rotates or axis.extent <= before[i].extent):
                x = self._resample(x, i, axis, kind, before[i].extent, spread, generator)
                continue
            if i in stream:  # copies of channels keep the function where silent frequencies would not
                x = dct.inverse(x, i, before[i].extent).index_select(i, _spaced(before[i].extent, axis.extent))
            if axis.role == "out":
                x = _divided(x, i, axis.extent, kind)
            elif axis.role == "in":
                x = _split(x, i, axis.extent, spread, generator)
        return x

    def _stream(self, key: str, arch: Architecture) -> list[tuple[int, Axis]]:
        """The axes that hold coefficients."""
        axes = enumerate(arch.axes(key))
        return [(i, axis) for i, axis in axes if axis.name == STREAM] if resamples(arch) else []

    def _resample(
        self, x: Tensor, i: int, axis: Axis, kind: Kind, source: int, spread: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Coefficients read at `axis.extent` channels; the mean and variance over channels stay (`functional`)."""
        ratio = sqrt(axis.extent / source)
        summed_over = axis.role == "in" or kind.feeds_tied
        if axis.role == "in" and axis.extent > source and self.noise:
            shape = [*x.shape[:i], axis.extent - source, *x.shape[i + 1 :]]
            silent = torch.zeros([*x.shape[:i], source - x.shape[i], *x.shape[i + 1 :]], dtype=x.dtype)
            x = torch.cat([x, silent, _normal(shape, generator, x) * spread], i)
        return dct.inverse(x, i, axis.extent) * (1 / ratio if summed_over else ratio)


def _chosen(x: Tensor, importance: Tensor, depth: int) -> Tensor:
    """The most important layers and the last, in their order."""
    chosen = importance[:-1].topk(depth - 1).indices.sort().values
    return torch.cat([x[chosen], x[-1:]])


def _adding_nothing(kind: Kind, x: Tensor, width: int) -> Tensor | None:
    """What a kind is in new layers, which hand on what they get; None: the same as in the layer that they copy.

    Branches are closed. A norm behind a sum makes its input z, of mean 0 and variance 1 over channels, and then scales
    and shifts it. The copied layer and the new ones behind it hand on z itself, which more norms leave as it is, until
    the last norm of them all scales and shifts: the last copy keeps the last norm, the first one all else.
    """
    if kind.closes_branch:
        return x.new_zeros(())
    if kind.behind_sum is None:
        return None
    new = torch.zeros_like(x[0])  # coefficients; the first is `sqrt(width)` times the mean
    new[0] = sqrt(width) if kind.name.endswith("weight") else 0
    return new


def _spaced(have: int, want: int) -> Tensor:
    """An order of units: first those that are copied once more than others, evenly spaced among all."""
    more = want % have
    spaced = torch.arange(more) * have // max(more, 1)
    rest = torch.ones(have, dtype=torch.bool).index_fill(0, spaced, value=False).nonzero().flatten()
    return torch.cat([spaced, rest])


def _divided(x: Tensor, i: int, units: int, kind: Kind) -> Tensor:
    """The first units; past the end copies of them. What a tied output reads is divided as inputs are."""
    return cycle_inputs(x, i, units) if kind.feeds_tied else cycle(x, i, units)


def _split(x: Tensor, i: int, units: int, spread: Tensor, generator: torch.Generator) -> Tensor:
    """The first inputs; past the end copies, among which every weight is split unequally."""
    have = x.shape[i]
    divided = cycle_inputs(x, i, units)
    if units <= have or not spread.any():
        return divided
    noise = _normal(list(divided.shape), generator, x)
    origin = torch.arange(units) % have
    means = torch.zeros_like(x).index_add_(i, origin, noise)
    return divided + spread * (noise - cycle_inputs(means, i, units))


def _spread(x: Tensor, axes: tuple[Axis, ...]) -> Tensor:
    """The standard deviation of every single map."""
    dims = [i for i, axis in enumerate(axes) if axis.role not in ("layer", "part")]
    return x.std(dims, correction=0, keepdim=True) if x.numel() > 1 else torch.zeros_like(x)


def _normal(shape: list[int], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32).to(like)
