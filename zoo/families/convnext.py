"""ConvNeXt: timm's `ConvNeXt` with linear MLPs and layer scale, as a table (Liu et al., arXiv 2201.03545)."""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator
from torch import nn

from zoo.architecture import Architecture
from zoo.families.stages import apportion, channels, flops, image_side
from zoo.family import Family, Kind, Segment, Table, repeat
from zoo.size import Size

STAGES = 4


class ConvNeXtConfig(BaseModel):
    """What all sizes of a ConvNeXt have in common; `blocks` are the proportions of the stages' depths.

    The stem divides the sides of an image by `patch_size` (1 for small images), the stages by another 8.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    img_size: PositiveInt = 224
    patch_size: Literal[1, 4] = 4  # timm adds a map before the first stage for 2, and dilates the last one for 8
    in_chans: PositiveInt = 3
    num_classes: PositiveInt = 1000
    blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=STAGES, max_length=STAGES)] = (3, 3, 9, 3)

    @model_validator(mode="after")
    def _something_is_left_in_the_last_stage(self) -> "ConvNeXtConfig":
        least = self.patch_size * 2 ** (STAGES - 1)
        if self.img_size < least:
            raise ValueError(f"img_size {self.img_size} is too small for patch_size {self.patch_size}; least: {least}")
        return self


def timm_args(arch: Architecture) -> dict[str, Any]:
    """The arguments that make timm's `convnext_tiny` the model of this architecture."""
    config = _config(arch)
    return {
        "in_chans": config.in_chans,
        "num_classes": config.num_classes,
        "patch_size": config.patch_size,
        "depths": _depths(config, arch.size.depth),
        "dims": tuple(arch.size.width * 2**stage for stage in range(STAGES)),
    }


def _build(arch: Architecture) -> nn.Module:
    import timm  # takes seconds to import; only building needs it

    return timm.create_model("convnext_tiny", **timm_args(arch))


def _config(arch: Architecture) -> ConvNeXtConfig:
    assert isinstance(arch.config, ConvNeXtConfig)
    return arch.config


def _depths(config: ConvNeXtConfig, depth: int) -> tuple[int, ...]:
    return apportion(depth, config.blocks, least=1)


def _flops(arch: Architecture) -> int:
    return flops(arch, partial(_places, _config(arch)))


def _places(config: ConvNeXtConfig, key: str) -> int:
    """At how many places a map is read."""
    if key.startswith("head"):
        return 1
    halvings = 0 if key.startswith("stem") else int(key.split(".")[1])
    return (config.img_size // config.patch_size // 2**halvings) ** 2


def _recognise(model: nn.Module) -> tuple[dict[str, Any], Size] | None:
    from timm.models.convnext import ConvNeXt

    if type(model) is not ConvNeXt:
        return None
    width, _, patch, _ = model.get_parameter("stem.0.weight").shape
    blocks = [len(list(stage.get_submodule("blocks").children())) for stage in model.stages]
    config = {
        "img_size": image_side(model),
        "patch_size": patch,
        "in_chans": model.in_chans,
        "num_classes": model.num_classes,
        "blocks": blocks,
    }
    return config, Size(depth=sum(blocks), width=width)


def _stream(stage: int) -> str:
    return channels(2**stage, f"stage{stage}")


def _stage(stage: int) -> Segment:
    width, hidden = _stream(stage), channels(4 * 2**stage, f"hidden{stage}")
    return repeat(
        f"stages.{stage}.blocks.{{layer}}.",
        Kind("gamma", width, closes_branch=True),
        Kind("conv_dw.weight", f"{width} <- 1 7 7"),
        Kind("conv_dw.bias", width),
        Kind("norm.weight", width),
        Kind("norm.bias", width),
        Kind("mlp.fc1.weight", f"{hidden} <- {width}"),
        Kind("mlp.fc1.bias", hidden),
        Kind("mlp.fc2.weight", f"{width} <- {hidden}"),
        Kind("mlp.fc2.bias", width),
        stage=stage,
    )


def _downsample(stage: int) -> tuple[Kind, ...]:
    before, after, name = _stream(stage - 1), _stream(stage), f"stages.{stage}.downsample"
    return (
        Kind(f"{name}.0.weight", before),
        Kind(f"{name}.0.bias", before),
        Kind(f"{name}.1.weight", f"{after} <- {before} 2 2"),
        Kind(f"{name}.1.bias", after),
    )


TABLE = Table(
    segments=tuple(_stage(stage) for stage in range(STAGES)),
    outside=(
        Kind("stem.0.weight", f"{_stream(0)} <- channel patch patch"),
        Kind("stem.0.bias", _stream(0)),
        Kind("stem.1.weight", _stream(0)),
        Kind("stem.1.bias", _stream(0)),
        *(kind for stage in range(1, STAGES) for kind in _downsample(stage)),
        Kind("head.norm.weight", _stream(STAGES - 1)),
        Kind("head.norm.bias", _stream(STAGES - 1)),
        Kind("head.fc.weight", f"class <- {_stream(STAGES - 1)}"),
        Kind("head.fc.bias", "class"),
    ),
)


def _constants(config: ConvNeXtConfig) -> Mapping[str, int]:
    return {"channel": config.in_chans, "patch": config.patch_size, "class": config.num_classes}


CONVNEXT = Family(
    name="convnext",
    config=ConvNeXtConfig,
    table=lambda _: TABLE,
    constants=_constants,
    build=_build,
    arguments=timm_args,
    flops=_flops,
    library="timm",
    recognise=_recognise,
    data={"image_size": "img_size", "channels": "in_chans", "classes": "num_classes"},
    head=("num_classes", "img_size"),
    depths=_depths,
    least_depth=lambda _: STAGES,
    attention=False,
    mlp=False,
    version=2,
)
