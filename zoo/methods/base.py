"""What every method is: a frozen set of options with `expand`, and `condense` where a closed form exists."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

from pydantic import BaseModel
from torch import Tensor

from zoo.architecture import Architecture, Stacks
from zoo.size import LegalSizes

Tensors = Mapping[str, Tensor]
"""The tensors of a learngene, by names that the method chooses."""


class Method(BaseModel, ABC, frozen=True, extra="forbid"):
    """A way to store a model without a size and to read it back at any size. Instances are the options.

    version: raised when the same options come to mean other tensors; results under an older one are made anew.
    """

    version: ClassVar[int] = 1
    name: str

    @abstractmethod
    def expand(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """The stacks of `target`'s weights. Pure and differentiable in `tensors`; nothing is computed twice.

        Args:
            tensors: the learngene's tensors, made at `source`.
            source: the architecture that the learngene was made at.
            target: the same family and config at another (legal) size.
        """

    def legal(self, source: Architecture) -> LegalSizes:
        """The sizes that a learngene made at `source` can give. Raises `BadInputError` for a family it cannot serve."""
        return source.legal


class ClosedForm(Method, frozen=True):
    """A method that condenses trained weights without training.

    inherits: whether anything of these weights gets into the learngene; else training them is no cost of it.
    """

    inherits: ClassVar[bool] = True

    @abstractmethod
    def condense(self, stacks: Stacks, source: Architecture) -> dict[str, Tensor]:
        """The learngene's tensors, from the trained weights at `source` (as stacks)."""


class Fitted(Method, frozen=True):
    """A method whose tensors can be fitted to one size through `expand`; some of them stay as they are."""

    @abstractmethod
    def resize(self, tensors: Tensors, source: Architecture, target: Architecture) -> dict[str, Tensor]:
        """The same learngene as if made at `target`: `expand(tensors) == expand(resize(tensors))` at `target`."""

    @abstractmethod
    def shared(self, name: str) -> bool:
        """Whether this tensor is the same for all sizes (frozen while the rest is fitted to one size)."""


class Trained(Fitted, frozen=True):
    """A method whose tensors are trained from a random start."""

    @abstractmethod
    def start(self, source: Architecture, seed: int) -> dict[str, Tensor]:
        """Random tensors to train from, all on the CPU in float32."""
