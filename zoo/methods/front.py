"""FRONT (arXiv 2603.07523, ICML 2026): the low frequencies of the weights are the learngene; no training.

Every kind is a signal over (layer, out, in). Condensing takes its cosine transform along each of these axes and
keeps the low corner; expanding pads or cuts the coefficients to the target's lengths and transforms back. Tensors are
z-scored first, with one mean and standard deviation per layer; q, k and v are separate signals. `keep`
applies to the maps between scaling axes; embeddings, norms, biases and the classifier are small and kept whole.

The scaling of the transform is a choice of one factor per axis of N source and M target entries:

- `official`: sqrt(N/M), the published code's unnormalised DCT-II;
- `orthonormal`: 1, keeps the energy;
- `amplitude`: sqrt(M/N), keeps constants as they are;
- `functional` (default): `amplitude` for outputs and vectors, `official` for inputs. With `R` the resampling that
  keeps constants, a map W becomes `R W R^+`: it does to resampled activations what W does to the original ones. For
  a square map this is `orthonormal`. Along the depth the spread is kept: `amplitude` for deeper, `orthonormal` for
  shallower models.
"""

from math import ceil, sqrt
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from zoo.family import Architecture, Axis, Stacks
from zoo.methods.base import ClosedForm, Tensors
from zoo.transforms import dct
from zoo.transforms.axes import interpolate

MEAN, STD = "mean/", "std/"
Normalization = Literal["functional", "official", "orthonormal", "amplitude"]


class Front(ClosedForm, frozen=True):
    """Options: the share of coefficients kept along every axis of the maps, and the scaling of the transform."""

    name: Literal["front"] = "front"
    keep: Annotated[float, Field(gt=0, le=1)] = 1.0
    normalization: Normalization = "functional"

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """Orthonormal coefficients of every kind; mean and standard deviation, layer by layer."""
        tensors: dict[str, Tensor] = {}
        for key, stack in stacks.items():
            tensors |= self._condense_kind(key, stack, source.axes(key))
        return tensors

    def _condense_kind(self, key: str, stack: Tensor, axes: tuple[Axis, ...]) -> dict[str, Tensor]:
        scaling = _scaling(axes)
        if not scaling:
            return {key: stack}
        dims = [i for i, axis in enumerate(axes) if axis.role not in ("layer", "part")]
        mean = stack.mean(dims, keepdim=True)
        # The paper's unbiased estimate differs by a factor that cancels in `expand`, and has none for a single number.
        std = stack.std(dims, correction=0, keepdim=True).clamp(min=torch.finfo(stack.dtype).tiny)
        signal = (stack - mean) / std
        for i, axis in scaling:
            keep = ceil(self.keep * axis.extent) if _is_map(axes) else axis.extent
            signal = dct.forward(signal, i, keep)
        return {key: signal.contiguous(), MEAN + key: mean, STD + key: std}

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Transform back at the target's lengths, then undo the z-score (its numbers interpolated over layers)."""
        return {key: self._expand_kind(key, tensors, source.axes(key), target.axes(key)) for key in target.kinds}

    def _expand_kind(self, key: str, tensors: Tensors, source: tuple[Axis, ...], target: tuple[Axis, ...]) -> Tensor:
        scaling = _scaling(target)
        if not scaling:
            return tensors[key]
        stack, mean, std = tensors[key], tensors[MEAN + key], tensors[STD + key]
        gain, mean_gain = 1.0, 1.0
        for i, axis in scaling:
            stack = dct.inverse(stack, i, axis.extent)
            gain *= self._gain(axis, source[i].extent, is_map=_is_map(target))
            if axis.role == "layer":
                mean, std = interpolate(mean, i, axis.extent), interpolate(std, i, axis.extent)
            elif axis.role == "in" and self.normalization == "functional":
                mean_gain *= source[i].extent / axis.extent  # a constant summed over more inputs must be smaller
        return stack * (gain * std) + mean * mean_gain

    def _gain(self, axis: Axis, source: int, *, is_map: bool) -> float:
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
                return 1 / ratio if axis.role == "in" else ratio


def _is_map(axes: tuple[Axis, ...]) -> bool:
    """Whether a kind maps inputs that scale to outputs that scale."""
    return {"out", "in"} <= {axis.role for axis in axes}


def _scaling(axes: tuple[Axis, ...]) -> list[tuple[int, Axis]]:
    return [(i, axis) for i, axis in enumerate(axes) if axis.role in ("layer", "out", "in")]
