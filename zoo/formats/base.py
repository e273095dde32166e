"""What a checkpoint format does; reading never executes what it reads."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from safetensors.torch import load_file

from zoo.architecture import Architecture, Weights
from zoo.manifest import Preprocessing

if TYPE_CHECKING:
    from zoo.checkpoint import Checkpoint

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class Format(ABC):
    """Folders with `config.json` and `model.safetensors`, as one library writes and loads them."""

    mark: ClassVar[str]
    """A field of `config.json` that only this library writes."""

    @abstractmethod
    def write(self, folder: Path, checkpoint: "Checkpoint") -> None:
        """Fill an empty folder so that the library loads it by itself."""

    @abstractmethod
    def describe(self, folder: Path, content: dict[str, Any]) -> tuple[Architecture, Preprocessing | None]:
        """The architecture that `config.json` names. Raises `BadInputError` if it is of no family."""

    @abstractmethod
    def refuse_another_function(self, folder: Path, arch: Architecture) -> None:
        """Raise `BadInputError` where the folder's model has the family's tensors but uses them in another way."""

    def weights(self, folder: Path, arch: Architecture) -> Weights:
        """The tensors by the names of the family's table."""
        return arch.own(load_file(folder / WEIGHTS))

    @abstractmethod
    def usage(self, arch: Architecture) -> str:
        """Python lines for the card: how to load the folder."""
