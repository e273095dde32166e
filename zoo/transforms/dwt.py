"""The approximations of the discrete wavelet transform along one axis, periodized (BoT, arXiv 2603.07506).

One level of a signal of 2h entries and its inverse (PyWavelets, `mode="periodization"`), indices modulo the length:

    a_k = sum_s g_s x_{2k+s}   and   x_i = sum_{2k+s=i} f_s a_k + (what the details add)

A signal counts as the approximation `a` of a longer one whose details are zero, and shrinks by losing them. Even and
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
    """The taps of the low-pass filters, of the transform and of its inverse."""

    down: Taps
    up: Taps


def check_wavelet(name: str) -> str:
    """Return the name of a discrete PyWavelets wavelet; any other is a `BadInputError` that shows the legal ones."""
    if name not in wavelist(kind="discrete"):
        families = [wavelist(family) for family in ("haar", "db", "sym", "coif", "bior", "rbio", "dmey")]
        legal = ", ".join(" ... ".join(dict.fromkeys((names[0], names[-1]))) for names in families)
        raise BadInputError(f"wavelet {name!r} is not a discrete wavelet of PyWavelets; legal are {legal}")
    return name


def down(x: Tensor, axis: int, levels: int, wavelet: str) -> Tensor:
    """The approximation after `levels` levels: `n / 2**levels` of n entries along `axis`, details are dropped."""
    assert x.shape[axis] % 2**levels == 0, (x.shape, axis, levels)
    for _ in range(levels):
        x = _Analysis.apply(x, axis, _filters(wavelet).down, x.shape[axis] // 2)
    return x


def up(x: Tensor, axis: int, levels: int, wavelet: str) -> Tensor:
    """The signal of `n * 2**levels` entries along `axis` whose approximation is `x`, and whose details are zero."""
    for _ in range(levels):
        x = _Synthesis.apply(x, axis, _filters(wavelet).up, 2 * x.shape[axis])
    return x


def levels(n: int, m: int) -> int:
    """How many levels the fewest are that lead from n entries to m or beyond: up if positive, down if negative."""
    return ((m - 1) // n).bit_length() - ((n - 1) // m).bit_length()


@lru_cache(maxsize=16)
def _filters(wavelet: str) -> Filters:
    bank = Wavelet(check_wavelet(wavelet))
    first = 1 - bank.dec_len // 2
    taps = (bank.dec_lo[::-1], bank.rec_lo)  # PyWavelets' are those of a convolution
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
