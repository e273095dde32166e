"""ResNet: timm's `ResNet` with basic or bottleneck blocks, as a table (He et al., arXiv 1512.03385).

The first block of a stage changes the channels and has tensors of its own; the others repeat. Blocks are units:
block 0 stands apart with all its tensors, so that whatever maps layers to layers never mixes two blocks.

timm's plain stem (7x7) has 64 channels in a model of any width. A first stage of basic blocks then has a projection
unless it has 64 channels as well, so plain basic ResNets (18, 34) keep that width. The deep stem (three 3x3 maps,
arXiv 1812.01187; timm's ResNet-S) scales. Both divide the sides of the image by 4: timm has no stem that does not.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt
from torch import nn

from zoo.architecture import Architecture
from zoo.families.stages import apportion, channels, flops, image_side
from zoo.family import Family, Kind, Segment, Table, repeat
from zoo.size import Range, Size

ENTRY = {"basic": "resnet18", "bottleneck": "resnet50"}
EXPANSION = {"basic": 1, "bottleneck": 4}
PLAIN_STEM = 64
STAGES = 4  # timm has no other number
LEAST_BLOCKS = 2  # block 0 and one that repeats


class ResNetConfig(BaseModel):
    """What all sizes of a ResNet have in common; `blocks` are the proportions of the stages' depths."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    img_size: PositiveInt = 224
    in_chans: PositiveInt = 3
    num_classes: PositiveInt = 1000
    block: Literal["basic", "bottleneck"] = "basic"
    blocks: Annotated[tuple[PositiveInt, ...], Field(min_length=STAGES, max_length=STAGES)] = (2, 2, 2, 2)
    stem: Literal["deep", "plain"] = "deep"

    @property
    def expansion(self) -> int:
        """Channels that a block gives per channel of its stage."""
        return EXPANSION[self.block]


def timm_args(arch: Architecture) -> dict[str, Any]:
    """The arguments that make timm's `resnet18` or `resnet50` the model of this architecture."""
    config, width = _config(arch), arch.size.width
    stem = {"stem_type": "deep", "stem_width": width} if config.stem == "deep" else {}
    return {
        "in_chans": config.in_chans,
        "num_classes": config.num_classes,
        "layers": _depths(config, arch.size.depth),
        "channels": tuple(width * 2**stage for stage in range(STAGES)),
        **stem,
    }


def _build(arch: Architecture) -> nn.Module:
    import timm  # takes seconds to import; only building needs it

    return timm.create_model(ENTRY[_config(arch).block], **timm_args(arch))


def _config(arch: Architecture) -> ResNetConfig:
    assert isinstance(arch.config, ResNetConfig)
    return arch.config


def _depths(config: ResNetConfig, depth: int) -> tuple[int, ...]:
    return apportion(depth, config.blocks, LEAST_BLOCKS)


def _widths(config: ResNetConfig) -> tuple[Range, str]:
    if config.stem == "deep":
        return Range(), ""
    why = f"timm's plain stem has {PLAIN_STEM} channels; stem: deep scales"
    if config.block == "basic":
        return Range(min=PLAIN_STEM, max=PLAIN_STEM), why
    return Range(min=PLAIN_STEM // config.expansion + 1), why  # at 16 timm leaves the first projection out


def _flops(arch: Architecture) -> int:
    return flops(arch, partial(_places, _config(arch)))


def _places(config: ResNetConfig, key: str) -> int:
    """At how many places a map is read."""
    place, _, rest = key.partition(".")
    if place == "fc":
        return 1
    halvings = 1 if place == "conv1" else 1 + int(place.removeprefix("layer"))
    if config.block == "bottleneck" and rest == "0.conv1.weight" and place != "layer1":
        halvings -= 1  # the block's second map has the stride
    return (-(-config.img_size // 2**halvings)) ** 2


def _recognise(model: nn.Module) -> tuple[dict[str, Any], Size] | None:
    from timm.models.resnet import Bottleneck, ResNet

    if type(model) is not ResNet:
        return None
    features: Any = model.num_features
    blocks = [len(list(model.get_submodule(f"layer{stage + 1}").children())) for stage in range(STAGES)]
    block = "bottleneck" if isinstance(model.get_submodule("layer1.0"), Bottleneck) else "basic"
    config = {
        "img_size": image_side(model),
        "in_chans": model.in_chans,
        "num_classes": model.num_classes,
        "block": block,
        "blocks": blocks,
        "stem": "deep" if isinstance(model.conv1, nn.Sequential) else "plain",
    }
    return config, Size(depth=sum(blocks), width=features // (EXPANSION[block] * 2 ** (STAGES - 1)))


def _table(config: ResNetConfig) -> Table:
    segments, projections = [], []
    outer = _stem_channels(config)
    for stage in range(STAGES):
        place, before, outer = f"layer{stage + 1}.", outer, _outer(config, stage)
        segments.append(Segment(place + "0.", _block(config, stage, before, "first"), stage))
        segments.append(repeat(place + "{layer}.", *_block(config, stage, outer, "inner"), stage=stage, first=1))
        if stage or config.stem == "deep" or config.block == "bottleneck":
            projections += _normalised(place + "0.downsample.0", f"{outer} <- {before} 1 1", place + "0.downsample.1")
    head = (Kind("fc.weight", f"class <- {outer}"), Kind("fc.bias", "class"))
    return Table(tuple(segments), (*_stem(config), *projections, *head), counters=("num_batches_tracked",))


def _stem(config: ResNetConfig) -> list[Kind]:
    last = _stem_channels(config)
    if config.stem == "plain":
        return _normalised("conv1", f"{last} <- channel 7 7", "bn1")
    first, second = channels(1, "stem1"), channels(1, "stem2")
    return [
        *_normalised("conv1.0", f"{first} <- channel 3 3", "conv1.1"),
        *_normalised("conv1.3", f"{second} <- {first} 3 3", "conv1.4"),
        *_normalised("conv1.6", f"{last} <- {second} 3 3", "bn1"),
    ]


def _stem_channels(config: ResNetConfig) -> str:
    """What the first block reads; without a projection it is also what that block adds to."""
    if config.stem == "deep":
        return channels(2, "stem3")
    return str(PLAIN_STEM) if config.block == "bottleneck" else _outer(config, 0)


def _outer(config: ResNetConfig, stage: int) -> str:
    """What all blocks of a stage add to."""
    return channels(config.expansion * 2**stage, f"layer{stage + 1}")


def _block(config: ResNetConfig, stage: int, before: str, which: str) -> tuple[Kind, ...]:
    """The tensors of one block of a stage, from `before` channels; those between its maps are its own."""
    outer = _outer(config, stage)
    inner = [channels(2**stage, f"layer{stage + 1}.{which}{i}") for i in (1, 2)]
    maps = [(inner[0], before, 3), (outer, inner[0], 3)]
    if config.block == "bottleneck":
        maps = [(inner[0], before, 1), (inner[1], inner[0], 3), (outer, inner[1], 1)]
    kinds: list[Kind] = []
    for i, (out, inn, side) in enumerate(maps, start=1):
        kinds += _normalised(f"conv{i}", f"{out} <- {inn} {side} {side}", f"bn{i}", closes_branch=i == len(maps))
    return tuple(kinds)


def _normalised(name: str, axes: str, norm: str, *, closes_branch: bool = False) -> list[Kind]:
    """A map and the batch norm behind it: its scale, its shift, and the statistics that it measures."""
    out, _, _ = axes.partition(" <- ")
    trained = [Kind(f"{norm}.{end}", out, closes_branch=closes_branch) for end in ("weight", "bias")]
    measured = [Kind(f"{norm}.{end}", out, statistic=True) for end in ("running_mean", "running_var")]
    return [Kind(f"{name}.weight", axes, normalised_by=norm), *trained, *measured]


def _constants(config: ResNetConfig) -> Mapping[str, int]:
    return {"channel": config.in_chans, "class": config.num_classes}


RESNET = Family(
    name="resnet",
    config=ResNetConfig,
    table=_table,
    constants=_constants,
    build=_build,
    arguments=timm_args,
    flops=_flops,
    library="timm",
    recognise=_recognise,
    data={"image_size": "img_size", "channels": "in_chans", "classes": "num_classes"},
    head=("num_classes", "img_size"),
    depths=_depths,
    least_depth=lambda _: LEAST_BLOCKS * STAGES,
    widths=_widths,
    attention=False,
    mlp=False,
    version=2,
)
