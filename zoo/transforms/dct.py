"""The cosine transform (DCT-II, orthonormal) along one axis or several.

The coefficients of a signal of N samples, `c_k = s_k sum_n x_n cos(pi k (2n + 1) / 2N)` with `s_0 = sqrt(1/N)` and
`s_k = sqrt(2/N)`, read back at M samples give the signal resampled to M. Other scalings of the transform differ from
this one by a factor per axis only (see `zoo.methods.front`).

Short axes are a matrix product. Long ones go through the FFT (after Makhoul, IEEE Trans. ASSP 28, 1980): let U be the
orthonormal Fourier transform of the odd samples followed by the even ones backwards, `x_1 x_3 x_5 ... x_4 x_2 x_0`, and
`w_k = exp(-3 pi i k / 2N)`, times sqrt 2 for k > 0. Then `w_k U_k = c_k + i c_{N-k}`, where `c_N = 0`.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

SHORT = 256
"""Up to so many samples the matrix product is faster (measured with MKL)."""
BLOCK = 2**18
"""About so many numbers go through the FFT at a time: what lies between input and output then stays in the cache."""

Counts = dict[int, int]  # by axis


def forward(x: Tensor, axis: int | Sequence[int], keep: int | Sequence[int]) -> Tensor:
    """The first `keep` orthonormal DCT-II coefficients of `x` (float32 or float64) along `axis`; at least one.

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
    """Shrinks the axes in ascending order. The transform is orthonormal: its gradient is the inverse."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Counts) -> Tensor:
        ctx.samples = {axis: x.shape[axis] for axis in keep}
        for axis, k in sorted(keep.items()):
            n = x.shape[axis]
            x = _product(_basis(n)[:k], x, axis) if n <= SHORT else _in_blocks(_analyse, x, axis, k)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Inverse.apply(grads[0], ctx.samples), None


class _Inverse(torch.autograd.Function):
    """Grows the axes in descending order: layers, cheap and first in a stack, come last here and first there."""

    @staticmethod
    def forward(ctx: Any, c: Tensor, samples: Counts) -> Tensor:
        ctx.keep = {axis: c.shape[axis] for axis in samples}
        for axis, n in sorted(samples.items(), reverse=True):
            k = c.shape[axis]
            c = _product(_basis(n)[:k].mT, c, axis) if n <= SHORT else _in_blocks(_synthesise, c, axis, n)
        return c

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Forward.apply(grads[0], ctx.keep), None


def _by_axis(x: Tensor, axis: int | Sequence[int], count: int | Sequence[int]) -> Counts:
    axes = (axis,) if isinstance(axis, int) else axis
    counts = (count,) if isinstance(count, int) else count
    return {a % x.ndim: n for a, n in zip(axes, counts, strict=True)}


def _product(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    matrix = matrix.to(x)
    if axis == x.ndim - 1:
        return x @ matrix.mT
    return (matrix @ x.flatten(axis + 1)).unflatten(-1, x.shape[axis + 1 :])


def _in_blocks(transform: Callable[[Tensor, Tensor], None], x: Tensor, axis: int, count: int) -> Tensor:
    """The result has `count` entries along `axis`; `transform` fills `(before, axis, after)` parts of it."""
    shape = (*x.shape[:axis], count, *x.shape[axis + 1 :])
    x = x.reshape(prod(shape[:axis]), x.shape[axis], prod(shape[axis + 1 :]))
    y = x.new_empty((len(x), count, x.shape[2]))
    lines = max(1, BLOCK // max(x.shape[1], count))
    columns = min(lines, x.shape[2])
    rows = lines // columns
    for source, target in zip(x.split(rows), y.split(rows), strict=True):
        for s, t in zip(source.split(columns, 2), target.split(columns, 2), strict=True):
            transform(s, t)
    return y.view(shape)


def _analyse(x: Tensor, c: Tensor) -> None:
    n, k = x.shape[1], c.shape[1]
    half = min(k, n // 2 + 1)
    folded = torch.cat([x[:, 1::2], x[:, ::2].flip(1)], 1)
    u = torch.fft.rfft(folded, dim=1, norm="ortho")[:, :half]
    u.mul_(_turns(n).to(u)[:half])
    c[:, :half] = u.real
    if k > half:
        c[:, half:] = u.imag[:, n - k + 1 : n - half + 1].flip(1)


def _synthesise(c: Tensor, x: Tensor) -> None:
    n, k = x.shape[1], c.shape[1]
    high = max(0, k - (n + 1) // 2)  # so many c_{N-k} are known in the half of U
    half = n // 2 + 1 if high else k
    u = c.new_zeros((len(c), half, c.shape[2]), dtype=c.dtype.to_complex())
    u.real.copy_(c[:, :half])
    u.imag[:, half - high :] = c[:, k - high :].flip(1)
    u.mul_(_turns(n).to(u)[:half].reciprocal())
    folded = torch.fft.irfft(u, n, dim=1, norm="ortho")
    x[:, 1::2] = folded[:, : n // 2]
    x[:, ::2] = folded[:, n // 2 :].flip(1)


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # kept for later callers, who may want gradients or stand on another device
def _turns(n: int) -> Tensor:
    """`w_k` for all k, in complex128, as a column."""
    k = torch.arange(n, dtype=torch.float64, device="cpu")
    w = torch.polar(torch.full_like(k, 2**0.5), -1.5 * torch.pi * k / n)
    w[0] = 1
    return w[:, None]


@lru_cache(maxsize=32)  # for short axes only, hence at most half a megabyte each
@torch.inference_mode(mode=False)
def _basis(n: int) -> Tensor:
    """The orthonormal DCT-II matrix `(n, n)` in float64, frequencies first."""
    i = torch.arange(n, dtype=torch.float64, device="cpu")
    basis = torch.cos(torch.pi * i[:, None] * (2 * i + 1) / (2 * n)) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis
