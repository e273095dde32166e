"""A new use of a learngene: other classes, another task. The body is inherited, the new head starts at random."""

from collections.abc import Mapping
from typing import Any

from zoo.architecture import Architecture, Weights
from zoo.errors import BadInputError
from zoo.families import architecture
from zoo.methods.random import random_start


def change_head(arch: Architecture, fields: Mapping[str, Any]) -> Architecture:
    """The same architecture with other values of some of `family.head`'s config fields. Raises `BadInputError`."""
    family = arch.family
    for field in fields:
        if field not in family.head:
            legal = ", ".join(family.head) or "none"
            raise BadInputError(
                f"head.{field}: not a field that a new use of {family.name!r} may change; legal: {legal}"
            )
    return architecture(family.name, {**arch.config.model_dump(), **fields}, arch.size)


def with_head(arch: Architecture, weights: Weights, *, seed: int) -> Weights:
    """The weights of `arch` from those of an architecture that differs only in `family.head`'s config fields.

    Tensors that `arch` has in the same shape are kept, others are dropped; what is missing starts as the library starts
    it under `seed`, in the dtype and on the device of the rest.
    """
    body = arch.family.body
    by_bare_name = {name.removeprefix(body): tensor for name, tensor in weights.items()}
    shapes = arch.shapes()
    inherited = {name: tensor for name in shapes if (tensor := by_bare_name.get(name.removeprefix(body))) is not None}
    kept = {name: tensor for name, tensor in inherited.items() if tensor.shape == shapes[name]}
    if kept.keys() == shapes.keys():
        return kept
    start, like = _start(arch, seed), next(iter(weights.values()))
    return {name: kept[name] if name in kept else start[name].to(like) for name in shapes}


def _start(arch: Architecture, seed: int) -> Weights:
    """A random start of the smallest depth: heads stand outside of the layers."""
    shallow = arch.at(arch.size.model_copy(update={"depth": arch.family.least_depth(arch.config)}))
    return shallow.unstack(random_start(shallow, seed))
