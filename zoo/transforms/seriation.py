"""Seriation: putting units in an order in which neighbours are alike, so that low frequencies hold most of them.

Among the orders of n vectors, the one whose steps are short is a shortest Hamiltonian path: the Fiedler vector of
their similarities (Atkins, Boman and Hendrickson, SIAM J. Comput. 28, 1998) is where we start, and 2-opt (Croes,
Operations Research 6, 1958) shortens it.
"""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor


def alike(x: Tensor) -> Tensor:
    """`(layer, unit)` int64: every layer's order of `x`, `(layer, unit, feature)`, smooth along layers and units.

    Each layer's units are paired with those of the layer before (linear assignment of inner products); then one path
    through all layers' units, side by side, orders them all.
    """
    orders = [torch.arange(x.shape[1])]
    for before, now in pairwise(x):
        orders.append(_paired(before[orders[-1]], now))
    aligned = torch.cat([layer[order] for layer, order in zip(x, orders, strict=True)], 1)
    return torch.stack(orders)[:, path(aligned)]


def path(x: Tensor) -> Tensor:
    """`(unit,)` int64: an order of `x`, `(unit, feature)`, in which neighbours are close to each other."""
    x = x.double()
    products = x @ x.T
    squares = products.diagonal()
    distances = (squares[:, None] + squares - 2 * products).clamp_(min=0)
    return torch.from_numpy(_shortened(_fiedler(products, squares).numpy(), distances.numpy()))


def _paired(before: Tensor, now: Tensor) -> Tensor:
    from scipy.optimize import linear_sum_assignment  # takes a moment to import

    _, order = linear_sum_assignment((before @ now.T).numpy(), maximize=True)
    return torch.from_numpy(order)


def _fiedler(products: Tensor, squares: Tensor) -> Tensor:
    """Units by the second eigenvector of the normalised Laplacian of their cosines, shifted to be positive."""
    scale = squares.clamp(min=torch.finfo(squares.dtype).tiny).rsqrt()
    cosines = (1 + products * scale[:, None] * scale).fill_diagonal_(0)
    degree = cosines.sum(1).clamp(min=torch.finfo(squares.dtype).eps).rsqrt()
    # The largest eigenvectors of the normalised similarities are the smallest of the Laplacian.
    _, vectors = torch.linalg.eigh(cosines * degree[:, None] * degree)
    return (vectors[:, max(0, len(squares) - 2)] * degree).argsort()


def _shortened(order: np.ndarray, distances: np.ndarray) -> np.ndarray:
    """Reverse stretches of the path while that makes it shorter: from every unit on, the best stretch."""
    n = len(order)
    least = 1e-9 * distances.max(initial=0)
    ends = np.zeros((n + 1, n + 1))  # unit n stands before the first and behind the last: any two may be the ends
    ends[:n, :n] = distances
    tour = np.concatenate([[n], order, [n]])
    improved = n > 2
    while improved:
        improved = False
        for i in range(n - 1):
            a, b, last, behind = tour[i], tour[i + 1], tour[i + 2 : -1], tour[i + 3 :]
            gain = ends[a, b] + ends[last, behind] - ends[a, last] - ends[b, behind]
            best = gain.argmax()
            if gain[best] > least:
                tour[i + 1 : i + 3 + best] = tour[i + 1 : i + 3 + best][::-1].copy()
                improved = True
    return tour[1:-1]
