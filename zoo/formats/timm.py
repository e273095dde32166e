"""Folders that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads, whoever wrote them."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from zoo.architecture import Architecture
from zoo.errors import BadInputError
from zoo.formats.base import Format
from zoo.manifest import Preprocessing

if TYPE_CHECKING:
    from zoo.checkpoint import Checkpoint

REGULARISERS = re.compile(r"\((\w*drop\w*)\): (Dropout|DropPath|Identity)\b.*")


class Timm(Format):
    """timm's `config.json` (architecture, model arguments, data config) and weights."""

    mark = "architecture"

    def write(self, folder: Path, checkpoint: "Checkpoint") -> None:
        """As timm pushes to the hub, without the hub."""
        from timm.models import save_for_hf  # timm takes seconds to import

        arch, preprocessing = checkpoint.arch, checkpoint.preprocessing
        model = checkpoint.model
        config = arch.config.model_dump()
        size = {"input_size": (config["in_chans"], config["img_size"], config["img_size"]), "crop_pct": 1.0}
        data = preprocessing.model_dump() if preprocessing else {}
        save_for_hf(
            model,
            str(folder),
            model_args=arch.family.arguments(arch),
            safe_serialization=True,
            data_config={**size, **data},
        )

    def describe(self, folder: Path, content: dict[str, Any]) -> tuple[Architecture, Preprocessing | None]:
        """Build the folder's model without its weights and look at it."""
        from timm.data.config import resolve_model_data_config

        from zoo.families import FAMILIES, architecture

        model = _model(folder)
        families = [family for family in FAMILIES.values() if family.library == "timm"]
        for family in families:
            if found := family.recognise(model):
                data = resolve_model_data_config(model)
                return architecture(family.name, *found), Preprocessing(mean=data["mean"], std=data["std"])
        legal = ", ".join(family.name for family in families)
        raise BadInputError(f"a {type(model).__name__} is of no family of the zoo; legal families: {legal}")

    def refuse_another_function(self, folder: Path, arch: Architecture) -> None:
        """Compare the modules and their settings (activations, epsilons, pooling), line by line."""
        model, expected = _model(folder), arch.skeleton()
        pools = [str(getattr(m, "global_pool", "")) for m in (model, expected)]
        for found, wanted in [(pools[0], pools[1]), *zip(_layout(model), _layout(expected), strict=False)]:
            if found != wanted:
                raise BadInputError(f"the model has {found!r}; family {arch.family.name!r} has {wanted!r}")

    def usage(self, arch: Architecture) -> str:
        """How to load it."""
        return 'import timm\nmodel = timm.create_model("local-dir:PATH_OF_THIS_FOLDER", pretrained=True)'


def _model(folder: Path) -> nn.Module:
    import timm

    try:
        return timm.create_model(f"local-dir:{folder}", pretrained=False, device=torch.device("meta"))
    except (RuntimeError, TypeError, ValueError) as error:
        raise BadInputError(f"timm cannot build this model: {error}") from error


def _layout(model: nn.Module) -> list[str]:
    """The modules and their settings, line by line; what acts in training only is left out."""
    lines = (line.strip() for line in repr(model).splitlines())
    return [line for line in lines if not REGULARISERS.fullmatch(line)]
