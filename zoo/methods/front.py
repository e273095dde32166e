"""FRONT (arXiv 2603.07523, ICML 2026): the low frequencies of the weights are the learngene; no training.

Every kind is a signal over (layer, out, in). Condensing takes its cosine transform along each of these axes and
keeps the low corner; expanding pads or cuts the coefficients to the target's lengths and transforms back. Tensors are
z-scored first, with one mean and standard deviation per layer. `keep` applies to the maps between scaling axes;
embeddings, norms, biases and the classifier are small and kept whole. Variances that a normalisation layer measured
are read linearly between channels and layers, because a cosine series may overshoot below zero.

The scaling of the transform is a choice of one factor per axis of N source and M target entries:

- `official`: sqrt(N/M), the published code's unnormalised DCT-II;
- `orthonormal`: 1, keeps the energy;
- `amplitude`: sqrt(M/N), keeps constants as they are;
- `functional` (default): `amplitude` for outputs and vectors, `official` for inputs. With `R` the resampling that
  keeps constants, a map W becomes `R W R^+`: it does to resampled activations what W does to the original ones. For
  a square map this is `orthonormal`. Where an output shares its weights with the input embedding, the last scale before
  it stands for the input. Along the depth the spread is kept: `amplitude` for deeper, `orthonormal` for
  shallower models.
"""

from math import ceil, prod, sqrt
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.family import Axis
from zoo.methods.base import ClosedForm, Tensors
from zoo.seriated import seriated
from zoo.transforms import dct
from zoo.transforms.axes import interpolate

MEAN, STD = "mean/", "std/"
Normalization = Literal["functional", "official", "orthonormal", "amplitude"]


class Front(ClosedForm, frozen=True):
    """The share of coefficients kept along every axis of the maps, the scaling, and what counts as one signal.

    fused_qkv: q, k and v are one signal, as in the published code, instead of three.
    mlp: `1d` transforms the maps of the MLP along the hidden axis only (along the width only where it changes).
    order: `alike` permutes units first, so that neighbours are alike and low frequencies hold more (`zoo.seriated`).
    """

    name: Literal["front"] = "front"
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0
    normalization: Normalization = "functional"
    fused_qkv: bool = False
    mlp: Literal["1d", "2d"] = "2d"
    order: Literal["none", "alike"] = "none"

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """Orthonormal coefficients of every kind; mean and standard deviation, layer by layer."""
        tensors: dict[str, Tensor] = {}
        stacks = seriated(stacks, source) if self.order == "alike" else stacks
        for key, stack in stacks.items():
            if source.kinds[key].statistic or not _scaling(source.axes(key)):
                tensors[key] = stack
            else:
                tensors |= self._condense_signal(key, stack, self._signal(source.axes(key)))
        return tensors

    def _condense_signal(self, key: str, stack: Tensor, axes: tuple[Axis, ...]) -> dict[str, Tensor]:
        x = stack.reshape([axis.extent for axis in axes])
        dims = [i for i, axis in enumerate(axes) if axis.role not in ("layer", "part")]
        # The paper's unbiased estimate differs by a factor that cancels in `expand`, and has none for a single number.
        mean = x.mean(dims, keepdim=True)
        x = x - mean
        count = prod(axes[i].extent for i in dims)
        std = (torch.linalg.vector_norm(x, dim=dims, keepdim=True) / sqrt(count)).clamp(min=torch.finfo(x.dtype).tiny)
        x.div_(std)
        kept = {i: self._kept(axis, axes) for i, axis in self._transformed(axes)}
        x = dct.forward(x, list(kept), list(kept.values()))
        return {key: x.contiguous(), MEAN + key: mean, STD + key: std}

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Transform back at the target's lengths, then undo the z-score (its numbers interpolated over layers)."""
        return {key: self._expand_kind(key, tensors, source, target) for key in target.kinds}

    def _expand_kind(self, key: str, tensors: Tensors, source: Architecture, target: Architecture) -> Tensor:
        before, after = source.axes(key), target.axes(key)
        if source.kinds[key].statistic:
            return _interpolate(tensors[key], after)
        if not _scaling(after):
            return tensors[key]
        tied = source.kinds[key].feeds_tied
        x = self._expand_signal(key, tensors, self._signal(before), self._signal(after), tied=tied)
        return x.reshape([axis.extent for axis in after])

    def _expand_signal(
        self, key: str, tensors: Tensors, source: tuple[Axis, ...], target: tuple[Axis, ...], *, tied: bool
    ) -> Tensor:
        x, mean, std = tensors[key], tensors[MEAN + key], tensors[STD + key]
        stored = dict(self._transformed(source))
        x = dct.inverse(x, list(stored), [target[i].extent for i in stored])
        gain, mean_gain = 1.0, 1.0
        for i, axis in _scaling(target):
            before = source[i].extent
            summed_over = axis.role == "in" or (axis.role == "out" and tied)
            if i not in stored and axis.extent != before:
                x = dct.inverse(dct.forward(x, i, min(before, axis.extent)), i, axis.extent)
            gain *= self._gain(axis, before, is_map=_is_map(target), summed_over=summed_over)
            if axis.role == "layer":
                mean, std = interpolate(mean, i, axis.extent), interpolate(std, i, axis.extent)
            elif summed_over and self.normalization == "functional":
                mean_gain *= before / axis.extent  # a constant summed over more inputs must be smaller
        assert x is not tensors[key]
        scale, shift = gain * std, mean * mean_gain
        # In place where no gradient forbids it: fresh memory costs as much as the arithmetic.
        return x * scale + shift if x.requires_grad else x.mul_(scale).add_(shift)

    def _signal(self, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """The axes of the signal that a kind is: some neighbours are one axis."""
        roles = [axis.role for axis in axes]
        for i in range(len(axes) - 1):
            fused = self.fused_qkv and roles[i : i + 2] == ["part", "out"]
            # The published code sees the patch embedding as a matrix (out x channels, pixels).
            patches = self.normalization == "official" and roles[i:] == ["out", "fixed", "fixed", "fixed"]
            if fused or patches:
                return (*axes[:i], _merge(axes[i : i + 2]), *axes[i + 2 :])
        return axes

    def _transformed(self, axes: tuple[Axis, ...]) -> list[tuple[int, Axis]]:
        """The axes along which the learngene holds frequencies."""
        in_mlp = any("mlp" in axis.name for axis in axes) and _is_map(axes)
        return [(i, axis) for i, axis in _scaling(axes) if self.mlp == "2d" or not in_mlp or "width" not in axis.name]

    def _kept(self, axis: Axis, axes: tuple[Axis, ...]) -> int:
        return ceil(self.keep * axis.extent) if _is_map(axes) else axis.extent

    def _gain(self, axis: Axis, source: int, *, is_map: bool, summed_over: bool) -> float:
        ratio = sqrt(axis.extent / source)
        match self.normalization:
            case "official":
                return 1 / ratio
            case "orthonormal":
                return 1.0
            case "amplitude":
                return ratio
            case "functional" if axis.role == "layer" and is_map:
                return max(1.0, ratio)
            case "functional":
                return 1 / ratio if summed_over else ratio


def _merge(axes: tuple[Axis, ...]) -> Axis:
    name = " ".join(axis.name for axis in axes)
    factors = tuple(factor for axis in axes for factor in axis.factors)
    return Axis(name, prod(factors), "out", factors)


def _interpolate(x: Tensor, target: tuple[Axis, ...]) -> Tensor:
    for i, axis in _scaling(target):
        x = interpolate(x, i, axis.extent)
    return x


def _is_map(axes: tuple[Axis, ...]) -> bool:
    """Whether a kind maps inputs that scale to outputs that scale."""
    return {"out", "in"} <= {axis.role for axis in axes}


def _scaling(axes: tuple[Axis, ...]) -> list[tuple[int, Axis]]:
    return [(i, axis) for i, axis in enumerate(axes) if axis.role in ("layer", "out", "in")]
