"""Families without a library: their modules are part of the zoo, and so is the folder."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors.torch import save_file

from zoo.architecture import Architecture
from zoo.errors import BadInputError
from zoo.files import write_json
from zoo.formats.base import CONFIG, WEIGHTS, Format
from zoo.manifest import Preprocessing
from zoo.size import Size

if TYPE_CHECKING:
    from zoo.checkpoint import Checkpoint


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    family: str
    config: dict[str, Any]
    size: Size
    preprocessing: Preprocessing | None


class Own(Format):
    """`config.json` with family, config, size and preprocessing; loaded by `zoo.read_checkpoint(folder).model`."""

    mark = "family"

    def write(self, folder: Path, checkpoint: "Checkpoint") -> None:
        """Plain JSON and safetensors."""
        arch = checkpoint.arch
        config = _Config(
            family=arch.family.name,
            config=arch.config.model_dump(mode="json"),
            size=arch.size,
            preprocessing=checkpoint.preprocessing,
        )
        write_json(folder / CONFIG, config.model_dump(mode="json"))
        save_file({name: tensor.contiguous() for name, tensor in checkpoint.weights.items()}, folder / WEIGHTS)

    def describe(self, folder: Path, content: dict[str, Any]) -> tuple[Architecture, Preprocessing | None]:
        """Check the fields."""
        from zoo.families import architecture

        try:
            config = _Config.model_validate(content)
        except ValidationError as error:
            first = error.errors()[0]
            raise BadInputError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error
        return architecture(config.family, config.config, config.size), config.preprocessing

    def refuse_another_function(self, folder: Path, arch: Architecture) -> None:
        """Family and config say all there is."""

    def usage(self, arch: Architecture) -> str:
        """How to load it."""
        return 'import zoo\nmodel = zoo.read_checkpoint("PATH_OF_THIS_FOLDER").model'
