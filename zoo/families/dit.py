"""DiT: the class-conditional diffusion transformer, as a table (Peebles & Xie, arXiv 2212.09748)."""

from collections.abc import Mapping
from typing import Any

from pydantic import PositiveInt
from torch import nn

from zoo.architecture import Architecture
from zoo.families.vit import ViTConfig
from zoo.family import Family, Kind, Table, repeat

FREQUENCIES = 256
"""Numbers that a time step is written in."""


class DiTConfig(ViTConfig):
    """What all sizes of a DiT have in common; the defaults are latents of images of 256 pixels, as in the paper."""

    img_size: PositiveInt = 32
    patch_size: PositiveInt = 2
    in_chans: PositiveInt = 4


def _arguments(arch: Architecture) -> dict[str, Any]:
    return {**arch.config.model_dump(), **arch.size.model_dump(), "frequencies": FREQUENCIES}


def _build(arch: Architecture) -> nn.Module:
    from zoo.families.dit_model import DiT  # its layers are timm's, which takes seconds to import

    return DiT(**_arguments(arch))


def _constants(config: DiTConfig) -> Mapping[str, int]:
    return {
        "qkv": 3,
        "modulation": 6,
        "final_modulation": 2,
        "token": config.patches,
        "patch": config.patch_size,
        "channel": config.in_chans,
        "label": config.num_classes + 1,  # the last one is the null class
        "frequency": FREQUENCIES,
    }


def _flops(arch: Architecture) -> int:
    config, size = arch.config, arch.size
    assert isinstance(config, DiTConfig)
    tokens, width = config.patches, size.width
    pixels = tokens * width * config.in_chans * config.patch_size**2  # read at the start, written at the end
    condition = FREQUENCIES * width + width**2
    layer = tokens * (4 * width**2 + 2 * width * size.mlp) + 2 * tokens**2 * width + 6 * width**2
    return 2 * (2 * pixels + condition + size.depth * layer + 2 * width**2)


TABLE = Table(
    segments=(
        repeat(
            "blocks.{layer}.",
            Kind("modulation.weight", "(modulation width) <- width"),
            Kind("modulation.bias", "(modulation width)"),
            Kind("attn.qkv.weight", "(qkv head head_dim) <- width", attention="qkv"),
            Kind("attn.qkv.bias", "(qkv head head_dim)"),
            Kind("attn.proj.weight", "width <- (head head_dim)", attention="out", closes_branch=True),
            Kind("attn.proj.bias", "width", closes_branch=True),
            Kind("mlp.fc1.weight", "mlp <- width"),
            Kind("mlp.fc1.bias", "mlp"),
            Kind("mlp.fc2.weight", "width <- mlp", closes_branch=True),
            Kind("mlp.fc2.bias", "width", closes_branch=True),
        ),
    ),
    outside=(
        Kind("pos_embed", "1 token width"),
        Kind("patch_embed.proj.weight", "width <- channel patch patch"),
        Kind("patch_embed.proj.bias", "width"),
        Kind("time_embed.fc1.weight", "width <- frequency"),
        Kind("time_embed.fc1.bias", "width"),
        Kind("time_embed.fc2.weight", "width <- width"),
        Kind("time_embed.fc2.bias", "width"),
        Kind("class_embed.weight", "label width"),
        Kind("final.modulation.weight", "(final_modulation width) <- width"),
        Kind("final.modulation.bias", "(final_modulation width)"),
        Kind("final.linear.weight", "(channel patch patch) <- width"),
        Kind("final.linear.bias", "(channel patch patch)"),
    ),
)

DIT = Family(
    name="dit",
    config=DiTConfig,
    table=lambda _: TABLE,
    constants=_constants,
    build=_build,
    arguments=_arguments,
    flops=_flops,
    library="zoo",
    recognise=lambda _: None,
    data={"image_size": "img_size", "channels": "in_chans", "classes": "num_classes"},
    head=("num_classes",),
    task=lambda _: "denoising",
)
