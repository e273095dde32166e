"""BoT (arXiv 2603.07506, CVPR 2026): one wavelet transform of the weights, in both directions; no training.

Every kind is a signal over (layer, out, in). A smaller model is its approximation, one level per halving of an axis,
the details dropped; a larger model is the inverse transform of the weights with details of zero. An axis that keeps its
length is left alone. Variances that a normalisation layer measured are read linearly between channels and layers,
because a wavelet may overshoot below zero.

The paper goes by powers of two. Our reading of other ratios: whole levels to the nearest length that is not below the
wanted one (an odd number of entries is stretched by one before it is halved), and from there linearly. All units of the
source take part, in their order. Padding and cutting off instead leaves the last layers of the source out of a deeper
model and repeats some in a shallower one: a ViT 8x48 trained on digits and brought to 12x48, 6x48, 8x72 and 8x36 then
has a mean loss over the next 40 steps of 0.16, 0.54, 0.17 and 1.19, and of 0.03, 0.16, 0.05 and 0.40 in our way.

A level down multiplies constants by sqrt(2) along its axis, a level up divides them by it. `rescale`:

- `none`: as the transform gives it;
- `amplitude`: constants stay as they are;
- `functional` (default): `amplitude`, but its inverse for inputs. With `R` the resampling that keeps constants, a map W
  becomes `R W R^+`: it does to resampled activations what W does to the original ones (exactly so where levels
  suffice). Inputs see the adjoint transform, for biorthogonal wavelets that of the dual one; where the output shares
  its weights with the input embedding, the last scale before it is divided in its place.

The same ViT's mean loss over 60 steps, `none` against `functional`: 0.99 and 0.05 at 12x72, 0.11 and 0.06 at 16x48,
0.84 and 0.66 at 6x36, but 0.39 and 0.45 at 4x48, 0.78 and 1.02 at 8x24: `none` starts better where axes are halved.
"""

from math import prod
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.errors import BadInputError
from zoo.family import Axis, Kind
from zoo.methods.base import ClosedForm, Tensors
from zoo.methods.whole import narrowed
from zoo.seriated import seriated
from zoo.size import LegalSizes, Range, Size
from zoo.transforms import dwt
from zoo.transforms.axes import interpolate

DUAL = {"bior": "rbio", "rbio": "bior"}


class BoT(ClosedForm, frozen=True):
    """The wavelet (any discrete one of PyWavelets), the scaling, and what the learngene keeps.

    wavelet: db2 is ahead of haar where the depth changes (decision 0063). Transforms are periodic: with wavelets longer
        than haar the first and the last units take part in each other.
    sizes: keep of every axis the smallest approximation that gives these sizes, and whatever lies below the largest of
        them, exactly as the whole weights do (None: keep the whole weights, for any size).
    order: `alike` permutes units first, so that neighbours, which are averaged, are alike (`zoo.seriated`).
    """

    name: Literal["bot"] = "bot"
    wavelet: Annotated[str, AfterValidator(dwt.check_wavelet)] = "db2"
    rescale: Literal["none", "amplitude", "functional"] = "functional"
    sizes: Annotated[tuple[Size, ...], Field(min_length=1)] | None = None
    order: Literal["none", "alike"] = "none"

    def legal(self, source: Architecture) -> LegalSizes:
        """Any size, or nothing larger than the largest of `sizes`."""
        if self.sizes is None:
            return source.legal
        served = self._served(source)
        ranges = {name: Range(max=max(getattr(size, name) for size in served)) for name in ("depth", "width", "mlp")}
        why = f"the learngene keeps what serves {', '.join(map(str, served))}"
        return narrowed(source, why, **ranges).model_copy(update={"free_heads": source.legal.free_heads})

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """The stacks themselves, or their approximations for `sizes`. Raises `BadInputError` for an illegal size."""
        stacks = seriated(stacks, source) if self.order == "alike" else stacks
        if self.sizes is None:
            return dict(stacks)
        served = [source.at(size) for size in self._served(source)]
        return {key: self._approximate(key, stack, source, served) for key, stack in stacks.items()}

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """Shrink axes from the first to the last, then lengthen from the last to the first: the fastest order."""
        return {key: self._resize(key, tensors[key], source, target) for key in target.kinds}

    def _served(self, source: Architecture) -> list[Size]:
        assert self.sizes is not None
        try:
            return [source.legal.size(size.depth, size.width, size.heads or None, size.mlp) for size in self.sizes]
        except BadInputError as error:
            raise BadInputError(f"method.sizes: {error}") from error

    def _approximate(self, key: str, x: Tensor, source: Architecture, served: list[Architecture]) -> Tensor:
        if source.kinds[key].statistic:
            return x
        for i, axis in _signal(source.axes(key)):
            largest = max(arch.axes(key)[i].extent for arch in served)
            x = _halve(x, i, largest, self._wavelet(axis))
        return x

    def _resize(self, key: str, x: Tensor, source: Architecture, target: Architecture) -> Tensor:
        kind, before, after = source.kinds[key], source.axes(key), _signal(target.axes(key))
        if kind.statistic:
            for i, axis in after:
                x = interpolate(x, i, axis.extent)
            return x
        shorter = [(i, axis) for i, axis in after if axis.extent < x.shape[i]]
        longer = [(i, axis) for i, axis in reversed(after) if axis.extent > x.shape[i]]
        for i, axis in shorter:
            x = _read(x, i, axis.extent, self._wavelet(axis))
        gain = prod(self._gain(kind, axis, before[i].extent) for i, axis in after)
        x = x if gain == 1 else x * gain  # here, where there are the fewest numbers
        for i, axis in longer:
            x = _read(x, i, axis.extent, self._wavelet(axis))
        return x

    def _wavelet(self, axis: Axis) -> str:
        if self.rescale == "functional" and axis.role == "in":
            return DUAL.get(self.wavelet[:4], self.wavelet[:4]) + self.wavelet[4:]
        return self.wavelet

    def _gain(self, kind: Kind, axis: Axis, source: int) -> float:
        """What the numbers of the transform are multiplied by, because of one axis."""
        if self.rescale == "none":
            return 1.0
        levels = dwt.levels(source, axis.extent) if source < axis.extent else -len(_halves(source, axis.extent))
        amplitude = 2 ** (levels / 2)
        summed_over = axis.role == "in" or (axis.role == "out" and kind.feeds_tied)
        return amplitude * source / axis.extent if self.rescale == "functional" and summed_over else amplitude


def _read(x: Tensor, axis: int, length: int, wavelet: str) -> Tensor:
    """Whole levels to the nearest length that is not below the wanted one, then linearly."""
    if x.shape[axis] > length:
        return interpolate(_halve(x, axis, length, wavelet), axis, length)
    return interpolate(dwt.up(x, axis, dwt.levels(x.shape[axis], length), wavelet), axis, length)


def _halve(x: Tensor, axis: int, least: int, wavelet: str) -> Tensor:
    for half in _halves(x.shape[axis], least):
        x = dwt.down(interpolate(x, axis, 2 * half), axis, 1, wavelet)
    return x


def _halves(n: int, least: int) -> list[int]:
    """The lengths that n entries are halved to, while no fewer than `least` are left; odd ones are rounded up."""
    lengths: list[int] = []
    while n > 1 and (n := (n + 1) // 2) >= least:
        lengths.append(n)
    return lengths


def _signal(axes: tuple[Axis, ...]) -> list[tuple[int, Axis]]:
    return [(i, axis) for i, axis in enumerate(axes) if axis.role in ("layer", "out", "in")]
