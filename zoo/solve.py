"""Which sizes fill a budget best: all legal sizes are counted, none is guessed."""

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, PositiveFloat, PositiveInt

from zoo.architecture import Architecture
from zoo.budget import count_text
from zoo.counts import Counts, Ints
from zoo.errors import BadInputError
from zoo.families import architecture, check_size
from zoo.size import LegalSizes, Size

WITHIN = 4.0
"""How far from the learngene's own width to depth sizes may be: without an end, the narrowest would always win."""
CHUNK = 16  # widths that are counted at first; then twice as many, and so on


class Budget(BaseModel):
    """How large a model may be: trainable numbers, FLOPs of one forward pass of one sample, seconds of such a pass."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    parameters: PositiveInt | None = None
    flops: PositiveInt | None = None
    latency: PositiveFloat | None = None


class Fill(BaseModel):
    """A size with its counts, the shares of the budgets that it fills, and its seconds where they were measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    size: Size
    parameters: int
    flops: int
    of_parameters: float | None = None
    of_flops: float | None = None
    latency: float | None = None


@dataclass
class Sizes:
    """The legal sizes of one architecture under `legal`, counted as far as budgets have asked.

    Heads and MLP follow the learngene's proportions. Rows are ordered: the most parameters first, then the fewest
    FLOPs, then the fewest blocks.
    """

    source: Architecture
    legal: LegalSizes
    within: float = WITHIN
    rows: Ints = field(default_factory=lambda: np.empty((0, 5), np.int64))  # depth, width, mlp, parameters, FLOPs
    _next: int | None = None  # the first width that is not counted yet; None before the first look

    def __post_init__(self) -> None:
        self._counts, self._chunk = Counts(self.source), CHUNK
        own, legal = self.source.size, self.legal
        ends = [
            legal.width.max,
            legal.depth.max and int(legal.depth.max * self.within * own.width / own.depth),
            legal.mlp.max and int((legal.mlp.max + legal.mlp.multiple) / legal.mlp_ratio),
        ]
        self._last = min((end for end in ends if end), default=None)  # no wider size is legal

    def best(self, budget: Budget, limit: int | None = None) -> list[Fill]:
        """The sizes that fill the budget best (at most `limit`); empty where none fits. Raises `BadInputError`."""
        if budget.parameters is None and budget.flops is None:
            raise BadInputError("budget: give --max-params or --max-flops (or both)")
        self._grow(budget)
        fits = np.flatnonzero(_within(self.rows[:, 3], budget.parameters) & _within(self.rows[:, 4], budget.flops))
        if budget.parameters is None:  # what is to be filled are FLOPs
            fits = fits[np.argsort(-self.rows[fits, 4], kind="stable")]
        return [self._fill(row, budget) for row in self.rows[fits[:limit]]]

    def smallest(self) -> Fill:
        """The legal size with the fewest parameters. Raises `BadInputError` if `within` leaves none."""
        while not len(self.rows) and self._next != 0:
            self._count_more()
        if not len(self.rows):
            raise BadInputError(f"within: {self.within:g} leaves no size of {self.legal}; allow other proportions")
        return self._fill(self.rows[-1], Budget())

    def _grow(self, budget: Budget) -> None:
        """Count wider sizes until none of the next widths can fit."""
        while self._next != 0:
            last = self.rows[self.rows[:, 1] == self.rows[:, 1].max()] if len(self.rows) else self.rows
            if len(last) and not ((_within(last[:, 3], budget.parameters) & _within(last[:, 4], budget.flops)).any()):
                return
            self._count_more()

    def _count_more(self) -> None:
        widths, family = self.legal.default_width, self.source.legal.width
        step = widths.multiple
        first = self._next or -(-widths.min // step) * step
        last = first + (self._chunk - 1) * step
        self._chunk *= 2
        chosen = [width for width in range(first, min(last, self._last or last) + 1, step) if width in family]
        self._next = 0 if self._last and last >= self._last else last + step
        sizes = [size for width in chosen for size in self._of_width(width)]
        if sizes:
            depths, widths_, mlps = np.array(sizes, dtype=np.int64).T
            counts = self._counts.parameters(depths, widths_, mlps), self._counts.flops(depths, widths_, mlps)
            rows = np.concatenate([self.rows, np.stack([depths, widths_, mlps, *counts], axis=1)])
            self.rows = rows[np.lexsort((rows[:, 0], rows[:, 4], -rows[:, 3]))]

    def _of_width(self, width: int) -> list[tuple[int, int, int]]:
        """Depth, width and MLP width of the legal sizes of one width."""
        own, legal = self.source.size, self.legal.depth
        usual = width * own.depth / own.width
        first = max(legal.min, self._counts.least_depth, int(-(-usual // self.within)))
        depths = range(first, min(int(usual * self.within), legal.max or 10**9) + 1)
        depths = [depth for depth in depths if depth in legal]
        try:
            return [(depth, width, self.legal.size(depths[0], width).mlp) for depth in depths] if depths else []
        except BadInputError:  # the MLP that goes with this width is not legal
            return []

    def _fill(self, row: Ints, budget: Budget) -> Fill:
        depth, width, mlp, parameters, flops = (int(value) for value in row)
        return Fill(
            size=self.legal.size(depth, width, None, mlp),
            parameters=parameters,
            flops=flops,
            of_parameters=budget.parameters and parameters / budget.parameters,
            of_flops=budget.flops and flops / budget.flops,
        )


def solve(
    source: Architecture, legal: LegalSizes, budget: Budget, limit: int = 5, within: float = WITHIN
) -> list[Fill]:
    """The legal sizes that fill the budget best: the most parameters below it first (FLOPs, if only these are given).

    Raises `BadInputError` if no legal size fits; the message names the smallest.
    """
    return fullest(Sizes(source, legal, within), budget, limit)


def fullest(sizes: Sizes, budget: Budget, limit: int) -> list[Fill]:
    """`solve` of sizes that may have been counted already."""
    return sizes.best(budget, limit) or _refuse(sizes, budget)


def fill(source: Architecture, size: Size, budget: Budget) -> Fill:
    """One given size with its counts. Raises `BadInputError` for a size that the family has no models of."""
    arch = source.at(size)
    check_size(arch)
    parameters, flops = arch.parameters(), arch.flops()
    shares = budget.parameters and parameters / budget.parameters, budget.flops and flops / budget.flops
    return Fill(size=size, parameters=parameters, flops=flops, of_parameters=shares[0], of_flops=shares[1])


@lru_cache(maxsize=4096)
def sizes_of(shape: str) -> Sizes:
    """The sizes of what `shape` describes: JSON of `family`, `config`, `size` and `legal`. Raises `BadInputError`."""
    import json

    content: dict[str, Any] = json.loads(shape)
    source = architecture(content["family"], content["config"], Size(**content["size"]))
    return Sizes(source, LegalSizes.model_validate(content["legal"]))


def _within(counts: Ints, most: int | None) -> Any:
    return counts <= most if most else np.ones(len(counts), bool)


def _refuse(sizes: Sizes, budget: Budget) -> list[Fill]:
    least = sizes.smallest()
    asked = [f"{name} {count_text(most)}" for name, most in budget if most and name != "latency"]
    raise BadInputError(
        f"budget: no legal size ({sizes.legal}) has at most {' and '.join(asked)}; the smallest, {least.size}, has "
        f"parameters {least.parameters:,} and flops {least.flops:,}"
    )
