"""The energy of weights outside their low frequencies: the penalty of FRONT+ (arXiv 2603.07523).

With X the orthonormal cosine transform of W along some axes d, and a weight `p_d(u)` in [0, 1] that says how free the
frequency u is along each of them, the penalty is, by Parseval,

    mean over u of (1 - prod_d p_d(u_d)) X_u^2  =  (sum W^2 - sum_u prod_d p_d(u_d) X_u^2) / numel

so that only frequencies with a weight are ever computed. The weights of a hard mask are ones up to the kept corner,
those of a soft one decay.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from zoo.transforms import dct


def low_pass(n: int, keep: int) -> Tensor:
    """Weights of the hard mask: the first `keep` of `n` frequencies are free. `(n,)`, float64."""
    assert 1 <= keep <= n, (n, keep)
    return (torch.arange(n) < keep).double()


def decay(n: int, gamma: float) -> Tensor:
    """Weights of the soft mask, `exp(-gamma u / n)`: the lower a frequency the freer. `(n,)`, float64."""
    assert gamma >= 0, gamma
    return torch.exp(-gamma / n * torch.arange(n, dtype=torch.float64))


def high_energy(x: Tensor, weights: Mapping[int, Tensor]) -> Tensor:
    """The penalty of `x` (float32 or float64), a scalar. `weights` has those of every axis that is transformed.

    Weights at the end of an axis that are below the machine epsilon count as zero. This changes the penalty by at most
    that share of the mean square of `x`, as rounding does: a penalty so small is noise, and may be negative.
    """
    eps = torch.finfo(x.dtype).eps
    audible = {axis % x.ndim: w[: int((w > eps).nonzero()[-1]) + 1] for axis, w in weights.items()}
    with torch.autocast(x.device.type, enabled=False):  # half the digits would not survive the difference
        low = dct.forward(x, list(audible), [len(w) for w in audible.values()]).square()
        for axis in sorted(audible, reverse=True):
            low = low.movedim(axis, -1) @ audible[axis].to(x)
        return (x.square().sum() - low.sum()) / x.numel()
