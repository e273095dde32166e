"""The cosine transform (DCT-II, orthonormal) along one axis or several.

The coefficients of a signal of N samples, `c_k = s_k sum_n x_n cos(pi k (2n + 1) / 2N)` with `s_0 = sqrt(1/N)` and
`s_k = sqrt(2/N)`, read back at M samples give the signal resampled to M. Other scalings of the transform differ from
this one by a factor per axis only (see `zoo.methods.front`).

On the CPU, long axes go through scipy's FFT; everything else is one matrix product per axis.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import torch
from torch import Tensor

SHORT = 128
"""Up to so many samples the product is faster (measured)."""

Counts = dict[int, int]  # by axis


def forward(x: Tensor, axis: int | Sequence[int], keep: int | Sequence[int]) -> Tensor:
    """The first `keep` orthonormal DCT-II coefficients of `x` (float32 or float64) along `axis`.

    With several axes, `keep` has a number for each of them.
    """
    return _Forward.apply(x, _by_axis(x, axis, keep))


def inverse(coefficients: Tensor, axis: int | Sequence[int], samples: int | Sequence[int]) -> Tensor:
    """Read coefficients back at `samples` points along `axis`: missing ones count as zero, surplus ones are cut.

    Several axes are cut before any is transformed, hence cost less together than one after the other.
    """
    counts, low = _by_axis(coefficients, axis, samples), coefficients
    for a, n in counts.items():
        low = low.narrow(a, 0, min(n, low.shape[a]))
    return _Inverse.apply(low, counts)


class _Forward(torch.autograd.Function):
    """The transform is orthonormal: its gradient is the inverse. Axes shrink one by one, the costliest come last."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Counts) -> Tensor:
        ctx.samples = samples = {axis: x.shape[axis] for axis in keep}
        short, long = _ways(samples, x.device)
        y = given = x.detach()
        for axis in short:
            y = _product(_basis(samples[axis], x.device)[: keep[axis]], y, axis)
        for axis in reversed(long):  # what lies apart in memory costs more
            y = _fft("dct", y, axis, samples[axis], overwrite=y is not given)
            if keep[axis] < samples[axis]:
                y = y.narrow(axis, 0, keep[axis]).clone()
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Inverse.apply(grads[0], ctx.samples), None


class _Inverse(torch.autograd.Function):
    """The same backwards: axes grow one by one, and the costliest come first."""

    @staticmethod
    def forward(ctx: Any, c: Tensor, samples: Counts) -> Tensor:
        ctx.keep = {axis: c.shape[axis] for axis in samples}
        short, long = _ways(samples, c.device)
        y = given = c.detach()
        for axis in long:
            y = _fft("idct", y, axis, samples[axis], overwrite=y is not given)
        for axis in reversed(short):
            y = _product(_basis(samples[axis], c.device)[: c.shape[axis]].mT, y, axis)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Forward.apply(grads[0], ctx.keep), None


def _by_axis(x: Tensor, axis: int | Sequence[int], count: int | Sequence[int]) -> Counts:
    axes = (axis,) if isinstance(axis, int) else axis
    counts = (count,) if isinstance(count, int) else count
    return dict(sorted((a % x.ndim, n) for a, n in zip(axes, counts, strict=True)))


def _ways(samples: Counts, device: torch.device) -> tuple[list[int], list[int]]:
    """The axes for the product, and those for the FFT."""
    long = [axis for axis, n in samples.items() if n > SHORT and device.type == "cpu"]
    return [axis for axis in samples if axis not in long], long


def _product(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    matrix = matrix.to(x.dtype)
    if axis == x.ndim - 1:
        return x @ matrix.mT
    return (matrix @ x.flatten(axis + 1)).unflatten(-1, x.shape[axis + 1 :])


def _fft(name: Literal["dct", "idct"], x: Tensor, axis: int, n: int, *, overwrite: bool) -> Tensor:
    import scipy.fft  # not needed for small models, and takes a moment to import

    transform, workers = getattr(scipy.fft, name), torch.get_num_threads()
    return torch.from_numpy(transform(x.numpy(), n=n, axis=axis, norm="ortho", overwrite_x=overwrite, workers=workers))


@lru_cache(maxsize=8)  # at most 131 kB each on a CPU, n^2 numbers elsewhere
@torch.inference_mode(mode=False)  # kept for later callers, who may want gradients
def _basis(n: int, device: torch.device) -> Tensor:
    """The orthonormal DCT-II matrix `(n, n)` in float64, frequencies first."""
    i = torch.arange(n, dtype=torch.float64, device=device)
    basis = torch.cos(torch.pi * i[:, None] * (2 * i + 1) / (2 * n)) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis
