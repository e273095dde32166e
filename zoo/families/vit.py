"""ViT and DeiT: timm's `VisionTransformer` with a class token, as a table (Dosovitskiy et al., arXiv 2010.11929)."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, PositiveInt, model_validator
from torch import nn

from zoo.architecture import Architecture
from zoo.errors import BadInputError
from zoo.family import Family, Kind, Table, repeat
from zoo.size import Size


class ViTConfig(BaseModel):
    """What all sizes of a ViT have in common: square images and patches in pixels, channels, classes."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    img_size: PositiveInt = 224
    patch_size: PositiveInt = 16
    in_chans: PositiveInt = 3
    num_classes: PositiveInt = 1000

    @model_validator(mode="after")
    def _patches_tile_the_image(self) -> "ViTConfig":
        if self.img_size % self.patch_size:
            legal = ", ".join(str(p) for p in range(1, self.img_size + 1) if self.img_size % p == 0)
            raise ValueError(f"patch_size {self.patch_size} does not divide img_size {self.img_size}; legal: {legal}")
        return self

    @property
    def patches(self) -> int:
        """Patches in one image."""
        return (self.img_size // self.patch_size) ** 2


def timm_args(arch: Architecture) -> dict[str, Any]:
    """The arguments that make timm's `VisionTransformer` the model of this architecture."""
    size = arch.size
    # timm computes int(width * ratio): the quotient is nudged up so that rounding never loses a unit.
    ratio = size.mlp / size.width
    ratio = ratio if int(size.width * ratio) == size.mlp else (size.mlp + 0.5) / size.width
    return {
        **arch.config.model_dump(),
        "embed_dim": size.width,
        "depth": size.depth,
        "num_heads": size.heads,
        "mlp_ratio": ratio,
    }


def _build(arch: Architecture) -> nn.Module:
    import timm  # takes seconds to import; only building needs it

    # Any name of timm's registry whose entry function is the plain ViT will do; all numbers are given.
    return timm.create_model("vit_base_patch16_224", **timm_args(arch))


def _constants(config: ViTConfig) -> Mapping[str, int]:
    return {
        "qkv": 3,
        "token": config.patches + 1,
        "patch": config.patch_size,
        "channel": config.in_chans,
        "class": config.num_classes,
    }


def _flops(arch: Architecture) -> int:
    config, size = arch.config, arch.size
    assert isinstance(config, ViTConfig)
    tokens = config.patches + 1
    embed = config.patches * size.width * config.in_chans * config.patch_size**2
    maps = tokens * (4 * size.width**2 + 2 * size.width * size.mlp)
    attention = 2 * tokens**2 * size.width
    return 2 * (embed + size.depth * (maps + attention) + size.width * config.num_classes)


def _recognise(model: nn.Module) -> tuple[dict[str, Any], Size] | None:
    from timm.models.vision_transformer import VisionTransformer

    if type(model) is not VisionTransformer:
        return None
    height, width = model.patch_embed.img_size or (0, 0)
    patch_height, patch_width = model.patch_embed.patch_size
    if height != width or patch_height != patch_width:
        raise BadInputError(f"images and patches must be square, got images of {height}x{width}")
    config = {
        "img_size": height,
        "patch_size": patch_height,
        "in_chans": model.patch_embed.proj.in_channels,
        "num_classes": model.num_classes,
    }
    hidden, _ = model.get_parameter("blocks.0.mlp.fc1.weight").shape
    heads: Any = model.get_submodule("blocks.0.attn").num_heads
    return config, Size(depth=len(model.blocks), width=model.embed_dim, heads=heads, mlp=hidden)


TABLE = Table(
    segments=(
        repeat(
            "blocks.{layer}.",
            Kind("norm1.weight", "width", scales="attn.qkv"),
            Kind("norm1.bias", "width", shifts="attn.qkv"),
            Kind("attn.qkv.weight", "(qkv head head_dim) <- width", attention="qkv"),
            Kind("attn.qkv.bias", "(qkv head head_dim)"),
            Kind("attn.proj.weight", "width <- (head head_dim)", attention="out", closes_branch=True),
            Kind("attn.proj.bias", "width", closes_branch=True),
            Kind("norm2.weight", "width", scales="mlp.fc1"),
            Kind("norm2.bias", "width", shifts="mlp.fc1"),
            Kind("mlp.fc1.weight", "mlp <- width"),
            Kind("mlp.fc1.bias", "mlp"),
            Kind("mlp.fc2.weight", "width <- mlp", closes_branch=True),
            Kind("mlp.fc2.bias", "width", closes_branch=True),
        ),
    ),
    outside=(
        Kind("cls_token", "1 1 width"),
        Kind("pos_embed", "1 token width"),
        Kind("patch_embed.proj.weight", "width <- channel patch patch"),
        Kind("patch_embed.proj.bias", "width"),
        Kind("norm.weight", "width", scales="head"),
        Kind("norm.bias", "width", shifts="head"),
        Kind("head.weight", "class <- width"),
        Kind("head.bias", "class"),
    ),
)

VIT = Family(
    name="vit",
    config=ViTConfig,
    table=lambda _: TABLE,
    constants=_constants,
    build=_build,
    arguments=timm_args,
    flops=_flops,
    library="timm",
    recognise=_recognise,
    data={"image_size": "img_size", "channels": "in_chans", "classes": "num_classes"},
    head=("num_classes",),
    rotates=True,
)
