"""The discrete wavelet transform along one axis, periodized, and resizing an axis with it (BoT, arXiv 2603.07506).

One level of a signal of 2h entries and its inverse (PyWavelets, `mode="periodization"`), indices modulo the length:

    a_k = sum_s g_s x_{2k+s},   d_k = sum_s g'_s x_{2k+s}   and   x_i = sum_{2k+s=i} (f_s a_k + f'_s d_k)

A signal counts as the approximation `a` of a longer one whose details `d` are zero, and shrinks by losing `d`. Even and
odd entries are views, and every filter tap is one fused multiply-add of a view: for Haar that is two of them.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import torch
from pywt import Wavelet, wavelist  # pyright: ignore[reportAttributeAccessIssue]
from torch import Tensor

from zoo.errors import BadInputError

Taps = tuple[tuple[int, float], ...]  # (s, weight)


class Filters(NamedTuple):
    """The taps of the low-pass and high-pass filters, of the transform and of its inverse."""

    down_low: Taps
    down_high: Taps
    up_low: Taps
    up_high: Taps


def check_wavelet(name: str) -> str:
    """Return the name of a discrete PyWavelets wavelet; any other is a `BadInputError` that shows the legal ones."""
    if name not in wavelist(kind="discrete"):
        families = [wavelist(family) for family in ("haar", "db", "sym", "coif", "bior", "rbio", "dmey")]
        legal = ", ".join(" ... ".join(dict.fromkeys((names[0], names[-1]))) for names in families)
        raise BadInputError(f"wavelet {name!r} is not a discrete wavelet of PyWavelets; legal are {legal}")
    return name


def split(x: Tensor, axis: int, wavelet: str) -> tuple[Tensor, Tensor]:
    """Approximation and detail of `x`, one level: each has half of the even number of entries along `axis`."""
    assert x.shape[axis] % 2 == 0, (x.shape, axis)
    half, filters = x.shape[axis] // 2, _filters(wavelet)
    return _Analysis.apply(x, axis, filters.down_low, half), _Analysis.apply(x, axis, filters.down_high, half)


def merge(approximation: Tensor, detail: Tensor, axis: int, wavelet: str) -> Tensor:
    """The signal that `split` took apart, twice as long along `axis`."""
    assert approximation.shape == detail.shape, (approximation.shape, detail.shape)
    length, filters = 2 * detail.shape[axis], _filters(wavelet)
    smooth: Tensor = _Synthesis.apply(approximation, axis, filters.up_low, length)
    return smooth.add_(_Synthesis.apply(detail, axis, filters.up_high, length))


def down(x: Tensor, axis: int, levels: int, wavelet: str) -> Tensor:
    """The approximation after `levels` levels: `n / 2**levels` of n entries along `axis`, details are dropped."""
    assert x.shape[axis] % 2**levels == 0, (x.shape, axis, levels)
    for _ in range(levels):
        x = _Analysis.apply(x, axis, _filters(wavelet).down_low, x.shape[axis] // 2)
    return x


def up(x: Tensor, axis: int, levels: int, wavelet: str) -> Tensor:
    """The signal of `n * 2**levels` entries along `axis` whose approximation is `x`, and whose details are zero."""
    return _grow(x, axis, x.shape[axis] * 2**levels, wavelet)


def levels(n: int, m: int) -> int:
    """How many levels `resize` takes from n to m entries: up if positive, down if negative."""
    return ((m - 1) // n).bit_length() - ((n - 1) // m).bit_length()


def resize(x: Tensor, axis: int, length: int, wavelet: str) -> Tensor:
    """Bring `axis` to `length` entries; `x` itself where it has them.

    Growing goes `levels` levels up, and the first `length` entries stay. Shrinking goes down to `length` from a signal
    that is long enough: `x` and its mirror image behind its last entry, which keeps the amplitude (zeros would lower
    it) and the spread (repetitions of one entry add up in phase, and their mean square would grow).
    """
    n, steps = x.shape[axis], levels(x.shape[axis], length)
    if steps >= 0:
        return _grow(x, axis, length, wavelet)
    missing = length * 2**-steps - n
    if missing:
        x = torch.cat((x, x.narrow(axis, n - missing, missing).flip(axis)), axis)
    return down(x, axis, -steps, wavelet)


def _grow(x: Tensor, axis: int, length: int, wavelet: str) -> Tensor:
    while (n := x.shape[axis]) < length:
        x = _Synthesis.apply(x, axis, _filters(wavelet).up_low, min(2 * n, length))
    return x


@lru_cache(maxsize=16)
def _filters(wavelet: str) -> Filters:
    bank = Wavelet(check_wavelet(wavelet))
    first = 1 - bank.dec_len // 2
    down_low, down_high = bank.dec_lo[::-1], bank.dec_hi[::-1]  # PyWavelets' are those of a convolution
    taps = (down_low, down_high, bank.rec_lo, bank.rec_hi)
    return Filters(*(tuple((s, weight) for s, weight in enumerate(filter, first) if weight) for filter in taps))


class _Analysis(torch.autograd.Function):
    """`y_k = sum_s weight_s x_{2k+s}` for k < length; x may lack the last ones of its `2 length` entries: zeros."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, taps: Taps, length: int) -> Tensor:
        ctx.adjoint = axis, taps, x.shape[axis]
        y, source, target = _result(x, axis, length)
        for s, weight in taps:
            _add_rolled(target, source[s % 2 :: 2], s // 2, length, weight)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Synthesis.apply(grads[0], *ctx.adjoint), None, None, None


class _Synthesis(torch.autograd.Function):
    """The adjoint, `y_i = sum_{2k+s=i} weight_s x_k`: the first `length` of twice as many entries as x has."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, axis: int, taps: Taps, length: int) -> Tensor:
        ctx.adjoint = axis, taps, x.shape[axis]
        y, source, target = _result(x, axis, length)
        for s, weight in taps:
            _add_rolled(target[s % 2 :: 2], source, -(s // 2), len(source), weight)
        return y

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return _Analysis.apply(grads[0], *ctx.adjoint), None, None, None


def _result(x: Tensor, axis: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Zeros to add to, and views of `x` and of them with `axis` in front."""
    shape = list(x.shape)
    shape[axis] = length
    y = x.new_zeros(shape)
    return y, x.movedim(axis, 0), y.movedim(axis, 0)


def _add_rolled(target: Tensor, source: Tensor, shift: int, period: int, weight: float) -> None:
    """`target[k] += weight * source[(k + shift) % period]` in place, wherever both have the entry."""
    start = shift % period
    for k, i in ((0, start), (period - start, 0)):
        count = min(len(target) - k, len(source) - i)
        if count > 0:
            target[k : k + count].add_(source[i : i + count], alpha=weight)
