"""MLP: a multilayer perceptron, as a table. The depth counts the maps from hidden to hidden units."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt
from torch import nn

from zoo.architecture import Architecture
from zoo.families.mlp_model import Perceptron
from zoo.family import Family, Kind, Table, repeat


class MLPConfig(BaseModel):
    """What all sizes of an MLP have in common. A vector of n features is an image of one pixel with n channels."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    img_size: PositiveInt = 28
    in_chans: PositiveInt = 1
    num_classes: PositiveInt = 10

    @property
    def features(self) -> int:
        """Numbers in one sample."""
        return self.in_chans * self.img_size**2


def _arguments(arch: Architecture) -> dict[str, Any]:
    config, size = _config(arch), arch.size
    return {"features": config.features, "width": size.width, "depth": size.depth, "classes": config.num_classes}


def _build(arch: Architecture) -> nn.Module:
    return Perceptron(**_arguments(arch))


def _config(arch: Architecture) -> MLPConfig:
    assert isinstance(arch.config, MLPConfig)
    return arch.config


def _constants(config: MLPConfig) -> Mapping[str, int]:
    return {"feature": config.features, "class": config.num_classes}


def _flops(arch: Architecture) -> int:
    config, width = _config(arch), arch.size.width
    return 2 * (config.features * width + arch.size.depth * width**2 + width * config.num_classes)


TABLE = Table(
    segments=(repeat("layers.{layer}.", Kind("weight", "width <- width"), Kind("bias", "width")),),
    outside=(
        Kind("input.weight", "width <- feature"),
        Kind("input.bias", "width"),
        Kind("head.weight", "class <- width"),
        Kind("head.bias", "class"),
    ),
)

MLP = Family(
    name="mlp",
    config=MLPConfig,
    table=lambda _: TABLE,
    constants=_constants,
    build=_build,
    arguments=_arguments,
    flops=_flops,
    library="zoo",
    recognise=lambda _: None,
    data={"image_size": "img_size", "channels": "in_chans", "classes": "num_classes"},
    head=("num_classes",),
    attention=False,
    mlp=False,
    residual=None,
)
