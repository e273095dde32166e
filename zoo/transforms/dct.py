"""The cosine transform (DCT-II, orthonormal), along one axis or several at once.

The coefficients of a signal of N samples, `c_k = s_k sum_n x_n cos(pi k (2n + 1) / 2N)` with `s_0 = sqrt(1/N)` and
`s_k = sqrt(2/N)`, read back at M samples give the signal resampled to M. Other scalings of the transform differ from
this one by a factor per axis only (see `zoo.methods.front`).

Short axes are a matrix product each. Long ones go through the FFT (after Makhoul, IEEE Trans. ASSP 28, 1980): let U be
the orthonormal Fourier transform of the odd samples followed by the even ones backwards, `x_1 x_3 x_5 ... x_4 x_2 x_0`,
and `w_k = exp(-3 pi i k / 2N)`, times sqrt 2 for k > 0. Then, with `c_N = 0`,

    w_k U_k = c_k + i c_{N-k},   hence   c_k = (w_k U_k + conj(w_k) U_{N-k}) / 2

for real signals, where half of U is enough; the second form holds for complex ones, too, that is for further axes.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from math import prod
from typing import Any

import torch
from torch import Tensor

Counts = dict[int, int]  # by axis, in ascending order

SHORT = 256
"""Up to so many samples the product is faster (measured with MKL)."""
BLOCK = 2**20
"""So many numbers (at least one matrix) are transformed at a time, so that what lies between stays in the cache."""


def forward(x: Tensor, axis: int | Sequence[int], keep: int | Sequence[int]) -> Tensor:
    """The first `keep` (at least one) orthonormal DCT-II coefficients of `x`, float32 or float64, along `axis`.

    Several axes, each with its `keep`, cost less together than one after the other; so with `inverse`.
    """
    return _Forward.apply(x, _by_axis(x, axis, keep))


def inverse(coefficients: Tensor, axis: int | Sequence[int], samples: int | Sequence[int]) -> Tensor:
    """Read coefficients back at `samples` points along `axis`: missing ones count as zero, surplus ones are cut."""
    counts, low = _by_axis(coefficients, axis, samples), coefficients
    for a, count in counts.items():
        low = low.narrow(a, 0, min(count, low.shape[a]))
    return _Inverse.apply(low, counts)


def _by_axis(x: Tensor, axis: int | Sequence[int], count: int | Sequence[int]) -> Counts:
    axes = (axis,) if isinstance(axis, int) else axis
    counts = (count,) if isinstance(count, int) else count
    return dict(sorted((a % x.ndim, n) for a, n in zip(axes, counts, strict=True)))


class _Forward(torch.autograd.Function):
    """The transform is orthonormal: its gradient is the inverse transform."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, keep: Counts) -> Tensor:
        ctx.samples = {axis: x.shape[axis] for axis in keep}
        long = {axis: count for axis, count in keep.items() if x.shape[axis] > SHORT}
        for axis in keep.keys() - long.keys():
            x = _product(_basis(x.shape[axis])[: keep[axis]], x, axis)
        return _in_blocks(_analyse, x, long) if long else x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Inverse.apply(grads[0], ctx.samples), None


class _Inverse(torch.autograd.Function):
    """And the other way round."""

    @staticmethod
    def forward(ctx: Any, c: Tensor, samples: Counts) -> Tensor:
        ctx.keep = {axis: c.shape[axis] for axis in samples}
        long = {axis: count for axis, count in samples.items() if count > SHORT}
        x = _in_blocks(_synthesise, c, long) if long else c
        for axis in samples.keys() - long.keys():
            x = _product(_basis(samples[axis])[: c.shape[axis]].mT, x, axis)
        return x

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Forward.apply(grads[0], ctx.keep), None


def _product(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    matrix = matrix.to(x)
    if axis == x.ndim - 1:
        return x @ matrix.mT
    return (matrix @ x.flatten(axis + 1)).unflatten(-1, x.shape[axis + 1 :])


def _in_blocks(transform: Callable[[Tensor, Counts, Tensor], None], x: Tensor, counts: Counts) -> Tensor:
    """`transform(part of x, counts, part of the result)` for parts of the axes before the first one in `counts`."""
    first = min(counts)
    before, after = x.shape[first:], [counts.get(axis, x.shape[axis]) for axis in range(first, x.ndim)]
    y = x.new_empty((prod(x.shape[:first]), *after))
    step = max(1, BLOCK // max(prod(before), prod(after)))
    counts = {1 + axis - first: count for axis, count in counts.items()}
    for source, target in zip(x.reshape(-1, *before).split(step), y.split(step), strict=True):
        transform(source, counts, target)
    return y.view(*x.shape[:first], *after)


def _analyse(x: Tensor, counts: Counts, out: Tensor) -> None:
    *others, last = counts
    size, keep = x.shape[last], counts[last]
    half = min(keep, size // 2 + 1)
    for axis in counts:
        x = torch.cat([_alternate(x, axis, 1), _alternate(x, axis, 0).flip(axis)], axis)
    u = torch.fft.rfftn(x, dim=list(counts), norm="ortho").narrow(last, 0, half)
    for axis in others:
        n, k = x.shape[axis], counts[axis]
        w = _turns(n, u, axis)[:k] / 2
        w[0] = 1  # U_N is U_0
        mirrored = u.narrow(axis, n - k + 1, k - 1).flip(axis)
        u = u.narrow(axis, 0, k).mul_(w)
        u.narrow(axis, 1, k - 1).addcmul_(mirrored, w[1:].conj_physical())
    u.mul_(_turns(size, u, last)[:half])
    out.narrow(last, 0, half).copy_(u.real)
    if keep > half:
        out.narrow(last, half, keep - half).copy_(u.imag.narrow(last, size - keep + 1, keep - half).flip(last))


def _synthesise(c: Tensor, counts: Counts, out: Tensor) -> None:
    for axis, n in counts.items():
        k = c.shape[axis]
        high = max(0, k - (n + 1) // 2)  # so many c_{N-k} are known in the half of U
        half = n // 2 + 1 if high else k
        u = c.new_zeros((*c.shape[:axis], half, *c.shape[axis + 1 :]), dtype=c.dtype.to_complex())
        u.real.copy_(c.narrow(axis, 0, half))
        u.imag.narrow(axis, half - high, high).copy_(c.narrow(axis, k - high, high).flip(axis))
        u.mul_(_turns(n, u, axis)[:half].reciprocal())
        folded = torch.fft.irfft(u, n, dim=axis, norm="ortho")
        c = out if axis == max(counts) else torch.empty_like(folded)
        odd, even = _alternate(c, axis, 1), _alternate(c, axis, 0)
        odd.copy_(folded.narrow(axis, 0, n // 2))
        even.copy_(folded.narrow(axis, n // 2, n - n // 2).flip(axis))


def _alternate(x: Tensor, axis: int, start: int) -> Tensor:
    """Every second entry along `axis`."""
    return x[(slice(None),) * axis + (slice(start, None, 2),)]


def _turns(n: int, u: Tensor, axis: int) -> Tensor:
    """`w_k` for all k, to be multiplied with `u` along `axis`."""
    return _turn(n).to(u).view(-1, *[1] * (u.ndim - axis - 1))


@lru_cache(maxsize=32)
@torch.inference_mode(mode=False)  # kept for later callers, who may want gradients or stand on another device
def _turn(n: int) -> Tensor:
    """`w_k` for all k, in complex128."""
    k = torch.arange(n, dtype=torch.float64, device="cpu")
    w = torch.polar(torch.full_like(k, 2**0.5), -1.5 * torch.pi * k / n)
    w[0] = 1
    return w


@lru_cache(maxsize=32)  # of short axes only: half a megabyte at most for each
@torch.inference_mode(mode=False)
def _basis(n: int) -> Tensor:
    """The orthonormal DCT-II matrix `(n, n)` in float64, frequencies first."""
    i = torch.arange(n, dtype=torch.float64, device="cpu")
    basis = torch.cos(torch.pi * i[:, None] * (2 * i + 1) / (2 * n)) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis
