"""BoT (arXiv 2603.07506, CVPR 2026): one wavelet transform of the weights, in both directions; no training.

Every kind is a signal over (layer, out, in). A smaller model is its approximation, one level per halving of an axis,
the details dropped; a larger model is the inverse transform of the weights with details of zero. An axis that keeps its
length is left alone. Variances that a normalisation layer measured are read linearly between channels and layers,
because a wavelet may overshoot below zero.

The paper speaks of powers of two only. Our reading for other ratios: go to the nearest length of at least the wanted
one that whole levels reach, and read that linearly at the wanted length. All units of the source take part so, in
their order; padding and cutting off instead would lose the last layers of a deeper model, and repeat some of a
shallower one. It also lets `sizes` commute: an approximation serves all smaller lengths as the whole axis does.

A level down multiplies constants by sqrt(2) along its axis, a level up divides them by it. `rescale`:

- `none`: as the transform gives it (the paper);
- `amplitude`: constants stay as they are;
- `functional` (default): `amplitude` for outputs and vectors, its inverse for inputs. With `R` the resampling that
  keeps constants, a map W becomes `R W R^+`: it does to resampled activations what W does to the original ones (for
  powers of two; the adjoint of a biorthogonal wavelet is its dual). Along the depth maps keep their spread: `amplitude`
  for deeper, `none` for shallower models.
"""

from math import sqrt
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.errors import BadInputError
from zoo.family import Axis
from zoo.methods.base import ClosedForm, Tensors
from zoo.size import LegalSizes, Size
from zoo.transforms import dwt
from zoo.transforms.axes import interpolate

Scaling = list[tuple[int, Axis, Axis]]  # the number of an axis, and the axis before and after


class BoT(ClosedForm, frozen=True):
    """Options: the wavelet, the scaling, and the sizes to serve.

    sizes: the learngene keeps of every axis the smallest approximation that gives these sizes (and all below them)
        exactly as the full weights do; None keeps the full weights, for any size.
    """

    name: Literal["bot"] = "bot"
    wavelet: Annotated[str, AfterValidator(dwt.check_wavelet)] = "haar"
    rescale: Literal["none", "amplitude", "functional"] = "functional"
    sizes: Annotated[tuple[Size, ...], Field(min_length=1)] | None = None

    def legal(self, source: Architecture) -> LegalSizes:
        """Any size, or nothing larger than the largest of `sizes`."""
        legal = source.legal
        if self.sizes is None:
            return legal
        served = self._served(source)
        most = {name: max(getattr(size, name) for size in served) for name in ("depth", "width", "mlp")}
        ranges = {name: getattr(legal, name).model_copy(update={"max": value}) for name, value in most.items()}
        why = "; ".join(part for part in (legal.why, f"kept for sizes {', '.join(map(str, served))}") if part)
        return legal.model_copy(update={**ranges, "why": why})

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """The stacks, or their approximations at the lengths that the largest of `sizes` needs."""
        if self.sizes is None:
            return dict(stacks)
        served = [source.at(size) for size in self._served(source)]
        return {key: self._approximate(key, stack, source, served) for key, stack in stacks.items()}

    def _approximate(self, key: str, x: Tensor, source: Architecture, served: list[Architecture]) -> Tensor:
        if source.kinds[key].statistic:
            return x
        for i, axis, _ in _scaling(key, source, source):
            largest = max(arch.axes(key)[i].extent for arch in served)
            x = dwt.down(x, i, _halvings(axis.extent, largest), self._wavelet(axis))
        return x

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Shrink what is too long, then lengthen what is too short: the order that handles the fewest numbers."""
        return {key: self._resize(key, tensors[key], source, target) for key in target.kinds}

    def _resize(self, key: str, x: Tensor, source: Architecture, target: Architecture) -> Tensor:
        axes = _signal(key, source, target)
        if source.kinds[key].statistic:
            for i, _, after in axes:
                x = interpolate(x, i, after.extent)
            return x
        longer = [axis for axis in axes if x.shape[axis[0]] <= axis[2].extent]
        for i, before, after in axes:
            if (i, before, after) not in longer:
                x = _read(x, i, after.extent, self._wavelet(before))
        gain = prod(self._gain(before, after.extent, source.axes(key)) for _, before, after in axes)
        x = x if gain == 1 else x * gain
        for i, before, after in reversed(longer):
            x = _read(x, i, after.extent, self._wavelet(before))
        return x

    def _wavelet(self, axis: Axis) -> str:
        """The wavelet along an axis; `functional` takes the adjoint for inputs: analysis and synthesis trade places."""
        if self.rescale == "functional" and axis.role == "in":
            return DUAL.get(self.wavelet[:4], self.wavelet[:4]) + self.wavelet[4:]
        return self.wavelet

    def _gain(self, axis: Axis, length: int, *, is_map: bool) -> float:
        """What the transform's numbers along one axis are multiplied by."""
        amplitude = sqrt(2) ** _levels(axis.extent, length)
        match self.rescale:
            case "none":
                return 1.0
            case "functional" if axis.role == "in":
                return amplitude * axis.extent / length
            case "functional" if axis.role == "layer" and is_map:
                return max(1.0, amplitude)
            case _:
                return amplitude


def _read(x: Tensor, axis: int, length: int, wavelet: str) -> Tensor:
    """Whole levels to the nearest length that is at least the wanted one, then linearly."""
    levels = _levels(x.shape[axis], length)
    step = dwt.up if levels > 0 else dwt.down
    return interpolate(step(x, axis, abs(levels), wavelet), axis, length)


def _levels(n: int, m: int) -> int:
    """Whole levels from n to m entries: up if positive, down if negative."""
    return dwt.levels(n, m) if n < m else -_halvings(n, m)


def _halvings(n: int, m: int) -> int:
    """How often n entries can be halved, while at least m remain."""
    return min((n & -n).bit_length(), max(1, (n // m).bit_length())) - 1


def _scaling(key: str, source: Architecture, target: Architecture) -> Scaling:
    """The axes along which a kind is a signal."""
    pairs = enumerate(zip(source.axes(key), target.axes(key), strict=True))
    return [(i, before, after) for i, (before, after) in pairs if before.role in ("layer", "out", "in")]
