"""Parameters and FLOPs of *all* sizes of an architecture at once, from its closed forms at a few of them.

A tensor has at most two axes that grow with the width `w` or the MLP width `m`, and a layer reads its maps a number of
times that no size changes. So both counts are, for every stage `s` of `b_s` blocks,

    c(b, w, m) = p_0(w, m) + sum_s (b_s - least_s) p_s(w, m),    p in span{1, w, w^2, m, w m}

and a handful of exact counts of `Architecture` gives the whole polynomial, in whole numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import lcm

import numpy as np
from numpy.typing import NDArray

from zoo.architecture import Architecture
from zoo.size import Size

Ints = NDArray[np.int64]
Count = Callable[[Architecture], int]


@dataclass(frozen=True)
class Counts:
    """What sizes with heads like those of `source` count, vectorised over sizes."""

    source: Architecture

    def blocks(self, depths: Ints) -> Ints:
        """The blocks of every stage, `(len(depths), stages)`."""
        return np.array([self._stages(int(depth)) for depth in depths], dtype=np.int64)

    def parameters(self, depths: Ints, widths: Ints, mlps: Ints) -> Ints:
        """`Architecture.parameters()` of every size; three arrays `(n,)` give `(n,)`."""
        return self._evaluate(self._parameters, depths, widths, mlps)

    def flops(self, depths: Ints, widths: Ints, mlps: Ints) -> Ints:
        """`Architecture.flops()` of every size; three arrays `(n,)` give `(n,)`."""
        return self._evaluate(self._flops, depths, widths, mlps)

    @property
    def least_depth(self) -> int:
        """The smallest depth of the family under this config."""
        return self.source.legal.depth.min

    @cached_property
    def _unit(self) -> int:
        """Widths are counted in it where the polynomials are found: its multiples are legal."""
        return lcm(self.source.legal.width.multiple, self.source.size.head_dim or 1)

    @cached_property
    def _parameters(self) -> Ints:
        return self._polynomials(Architecture.parameters)

    @cached_property
    def _flops(self) -> Ints:
        return self._polynomials(Architecture.flops)

    def _evaluate(self, polynomials: Ints, depths: Ints, widths: Ints, mlps: Ints) -> Ints:
        x = widths // self._unit
        terms = np.stack([np.ones_like(x), x, x * x, mlps, x * mlps])
        distinct, where = np.unique(depths, return_inverse=True)
        more = self.blocks(distinct) - self._stages(self.least_depth)
        times = np.concatenate([np.ones((len(distinct), 1), np.int64), more], axis=1)[where]
        return np.einsum("ns,sn->n", times, polynomials @ terms)

    def _polynomials(self, count: Count) -> Ints:
        """Coefficients `(1 + stages, 5)`: of the least depth, then of one more block of every stage."""
        least = np.array(self._stages(self.least_depth))
        found: dict[int, Ints] = {}
        base = self._polynomial(count, self.least_depth)
        depth = self.least_depth
        while len(found) < len(least):  # one block more at a time: which stage gets it says the family
            depth += 1
            more = np.array(self._stages(depth)) - least
            new = [s for s in range(len(least)) if more[s] and s not in found]
            if new:
                known = sum((more[s] * found[s] for s in found), start=base)
                (stage,) = new
                found[stage] = self._polynomial(count, depth) - known
        return np.stack([base, *(found[s] for s in range(len(least)))])

    def _polynomial(self, count: Count, depth: int) -> Ints:
        """Coefficients `(5,)` at one depth, by finite differences."""
        if not self.source.family.mlp:  # then m is always 4 w, and only a polynomial in w is there
            f = [self._count(count, depth, x, 4 * x * self._unit) for x in (1, 2, 3)]
            square = (f[2] - 2 * f[1] + f[0]) // 2
            linear = f[1] - f[0] - 3 * square
            return np.array([f[0] - linear - square, linear, square, 0, 0])
        f11, f21, f31 = (self._count(count, depth, x, 1) for x in (1, 2, 3))
        f12, f22 = (self._count(count, depth, x, 2) for x in (1, 2))
        square, mixed = (f31 - 2 * f21 + f11) // 2, (f22 - f12) - (f21 - f11)
        linear, mlp = f21 - f11 - 3 * square - mixed, f12 - f11 - mixed
        return np.array([f11 - linear - square - mlp - mixed, linear, square, mlp, mixed])

    def _count(self, count: Count, depth: int, x: int, mlp: int) -> int:
        width, dim = x * self._unit, self.source.size.head_dim
        return count(self.source.at(Size(depth=depth, width=width, heads=width // dim if dim else 0, mlp=mlp)))

    def _stages(self, depth: int) -> tuple[int, ...]:
        return self.source.family.depths(self.source.config, depth)
