"""The energy of weights outside their low frequencies: the penalty of FRONT+ (arXiv 2603.07523).

With X the orthonormal cosine transform of W along some axes d, and a weight `p_d(u)` in [0, 1] that says how free the
frequency u is along each of them, the penalty is

    mean over u of (1 - prod_d p_d(u_d)) X_u^2  =  <W, R> / numel,      R = W - inverse(prod_d p_d(u_d) X_u)

by Parseval: only frequencies with a weight are computed. R is a symmetric linear map of W, hence `2 R / numel` is the
gradient, and known with the penalty. The weights of a hard mask are ones up to the kept corner, those of a soft one
decay.
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
    """The penalty of `x` (float32 or float64), a scalar, differentiable once; `weights` by the axes to be transformed.

    Weights at the end of an axis that are below the machine epsilon count as zero: this changes the penalty by at most
    that share of the mean square of `x`.
    """
    eps = torch.finfo(x.dtype).eps
    heard = {axis % x.ndim: w[: int((w > eps).nonzero()[-1]) + 1] for axis, w in weights.items()}
    with torch.autocast(x.device.type, enabled=False):  # half the digits would not survive the difference
        with torch.no_grad():
            low = dct.forward(x, list(heard), [len(w) for w in heard.values()])
            for axis, w in heard.items():
                low *= w.to(x).view(-1, *[1] * (x.ndim - axis - 1))
            rest = x - dct.inverse(low, list(heard), [x.shape[axis] for axis in heard])
        energy = torch.dot(x.flatten(), rest.flatten()) / x.numel()
    return 2 * energy - energy.detach()  # the value is one `energy`, the gradient that of two with `rest` constant
