"""Mimetic initialization (Trockman & Kolter, arXiv 2305.09828, ICML 2023): attention that looks trained, by design.

In every layer, and for queries and keys in every head, with Z of independent N(0, 1/width) entries:

    W_query^T W_key = alpha_qk Z + beta_qk I        (its best approximation of the head's rank)
    W_out W_value   = alpha_vo Z - beta_vo I

Both sides of a product get the square roots of its singular values. All else starts as the library starts it, the
position tables as well (the paper's vision models have sinusoidal ones). In language models the paper finds both signs
the other way round: make `beta_qk` and `beta_vo` negative. Nothing is inherited from an ancestor.
"""

from typing import ClassVar, Literal

import torch
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.errors import BadInputError
from zoo.methods.base import ClosedForm, Tensors
from zoo.methods.random import random_start
from zoo.size import LegalSizes


class Mimetic(ClosedForm, frozen=True):
    """Options: the weights of noise and identity in the two products (defaults: the paper's for images); a seed."""

    inherits: ClassVar[bool] = False
    name: Literal["mimetic"] = "mimetic"
    alpha_qk: float = 0.7
    beta_qk: float = 0.7
    alpha_vo: float = 0.4
    beta_vo: float = 0.4
    seed: int = 0

    def legal(self, source: Architecture) -> LegalSizes:
        """Any size of a family with attention."""
        if not source.family.attention:
            raise BadInputError(f"family {source.family.name!r} has no attention, which is all that mimetic sets")
        return source.legal

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """Nothing is kept of the ancestor."""
        return {}

    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """The library's start, with the attention's maps replaced."""
        stacks = random_start(target, self.seed)
        maps = _attention(stacks, target)
        generator = torch.Generator().manual_seed(self.seed)
        for layer in range(len(maps["out"])):
            query, key = (maps[name][layer].unflatten(0, (target.size.heads, -1)) for name in ("query", "key"))
            left, right = _factors(self.alpha_qk, self.beta_qk, query.mT.shape, generator)
            query.copy_(left.mT)
            key.copy_(right)
            left, right = _factors(self.alpha_vo, -self.beta_vo, maps["out"][layer].shape, generator)
            maps["out"][layer].copy_(left)
            maps["value"][layer].copy_(right)
        return stacks


def _attention(stacks: dict[str, Tensor], arch: Architecture) -> dict[str, Tensor]:
    """Views `(layer, out, in)` of the queries', keys', values' and output maps."""
    maps: dict[str, Tensor] = {}
    for key, kind in arch.kinds.items():
        if kind.attention == "qkv":
            maps |= {name: stacks[key].select(1, i) for i, name in enumerate(("query", "key", "value"))}
        elif kind.attention:
            maps[kind.attention] = stacks[key]
    return maps


def _factors(alpha: float, beta: float, shape: torch.Size, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """`L (..., n, k)` and `R (..., k, n)`: `L R` is the best rank-k approximation of `alpha Z + beta I`."""
    *batch, n, k = shape
    m = alpha / n**0.5 * torch.randn(*batch, n, n, generator=generator) + beta * torch.eye(n)
    # U and the squares of the singular values from M M^T: several times faster than a singular value decomposition.
    squares, vectors = torch.linalg.eigh(m @ m.mT)
    left, roots = vectors[..., -k:], squares[..., -k:].clamp(min=torch.finfo(m.dtype).eps).pow(0.25)
    return left * roots[..., None, :], (left.mT @ m) / roots[..., :, None]
