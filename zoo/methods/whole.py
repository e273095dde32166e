"""What the methods share whose learngene is the ancestor itself: all its stacks, copied or selected for a new size."""

from math import lcm

from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.methods.base import ClosedForm
from zoo.size import LegalSizes, Range


class Whole(ClosedForm, frozen=True):
    """A method that keeps every tensor of the ancestor as it is."""

    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """The stacks themselves."""
        return dict(stacks)


def narrowed(source: Architecture, why: str, **ranges: Range) -> LegalSizes:
    """The family's sizes within these ranges of `depth`, `width` and `mlp`, with heads of the source's channels."""
    legal = source.legal
    update: dict[str, object] = {name: _both(getattr(legal, name), bounds) for name, bounds in ranges.items()}
    why = "; ".join(reason for reason in (why, legal.why) if reason)
    return legal.model_copy(update=update | {"free_heads": False, "why": why})


def only(value: int) -> Range:
    """The range of one number."""
    return Range(min=value, max=value)


def _both(one: Range, other: Range) -> Range:
    ends = [end for end in (one.max, other.max) if end is not None]
    multiple = lcm(one.multiple, other.multiple)
    return Range(min=max(one.min, other.min), max=min(ends, default=None), multiple=multiple)
