"""The cosine transform (DCT-II, orthonormal) along chosen axes, as small matrix products.

The orthonormal coefficients of a signal of N samples, `c_k = s_k sum_n x_n cos(pi k (2n + 1) / 2N)` with
`s_0 = sqrt(1/N)` and `s_k = sqrt(2/N)`, read back at M samples give the signal resampled to M. Other scalings of
the transform differ from this one by a factor per axis only (see `zoo.methods.front`).
"""

from functools import lru_cache

import torch
from torch import Tensor


def forward(x: Tensor, axis: int, keep: int) -> Tensor:
    """The first `keep` orthonormal DCT-II coefficients of `x` along `axis`."""
    return _apply(_basis(x.shape[axis])[:keep], x, axis)


def inverse(coefficients: Tensor, axis: int, samples: int) -> Tensor:
    """Read coefficients back at `samples` points along `axis`: missing ones count as zero, surplus ones are cut."""
    kept = min(coefficients.shape[axis], samples)
    low = coefficients.narrow(axis, 0, kept)
    return _apply(_basis(samples)[:kept].mT, low, axis)


@lru_cache(maxsize=16)
@torch.inference_mode(mode=False)  # kept for later callers, who may want gradients or stand on another device
def _basis(n: int) -> Tensor:
    """The orthonormal DCT-II matrix `(n, n)` in float64, frequencies first."""
    i = torch.arange(n, dtype=torch.float64, device="cpu")
    basis = torch.cos(torch.pi * i[:, None] * (2 * i + 1) / (2 * n)) * (2 / n) ** 0.5
    basis[0] /= 2**0.5
    return basis


def _apply(matrix: Tensor, x: Tensor, axis: int) -> Tensor:
    return (x.movedim(axis, -1) @ matrix.to(x).mT).movedim(-1, axis)
