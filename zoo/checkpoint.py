"""Checkpoint folders that timm loads by itself: writing ready models, reading ancestors."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from zoo.card import model_card
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.families import FAMILIES, architecture
from zoo.family import Architecture, Weights
from zoo.files import atomic_folder, digest_file
from zoo.manifest import Preprocessing
from zoo.size import Size

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer

CONTIGUOUS = torch.contiguous_format  # expanded weights may be views; safetensors wants them whole
CONFIG, WEIGHTS, CARD = "config.json", "model.safetensors", "README.md"


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights of one size, as a state dict."""

    arch: Architecture
    weights: Weights
    digest: str = ""
    """SHA-256 of the weights' file, where it was read from one."""
    preprocessing: Preprocessing | None = None

    @cached_property
    def model(self) -> torch.nn.Module:
        """The real model with a copy of these weights, in eval mode; built without any random start."""
        model = self.arch.build("meta")
        copies = {name: tensor.detach().clone(memory_format=CONTIGUOUS) for name, tensor in self.weights.items()}
        model.load_state_dict(copies, assign=True)
        return model.requires_grad_().eval()


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, origin: str) -> None:
    """Write a folder that `timm.create_model("local-dir:FOLDER", pretrained=True)` loads, with a card.

    `origin` is a sentence for the card; the preprocessing goes into timm's data config.
    """
    from timm.models import save_for_hf  # timm takes seconds to import

    from zoo.families.vit import timm_args

    arch, preprocessing = checkpoint.arch, checkpoint.preprocessing
    config = arch.config.model_dump()
    data = preprocessing.model_dump() if preprocessing else {}
    shape = (config["in_chans"], config["img_size"], config["img_size"])
    with atomic_folder(folder) as temporary:
        save_for_hf(
            checkpoint.model,
            str(temporary),
            model_args=timm_args(arch),
            safe_serialization=True,
            data_config={"input_size": shape, "crop_pct": 1.0, **data},
        )
        (temporary / CARD).write_text(model_card(arch, origin), encoding="utf-8")


def read_checkpoint(folder: Path) -> Checkpoint:
    """Read a timm checkpoint folder (`config.json`, `model.safetensors`), whoever wrote it.

    Raises:
        NotFoundError: no such folder, or no checkpoint in it.
        BadInputError: not a family of the zoo; the first tensors or the setting that do not fit are named.
        IntegrityError: the weights cannot be read or hold NaN or infinity.
    """
    from timm.data.config import resolve_model_data_config

    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise NotFoundError(f"{folder / name}: missing; a checkpoint folder holds {CONFIG} and {WEIGHTS}")
    try:
        weights = load_file(folder / WEIGHTS)
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (SafetensorError, ValueError) as error:
        raise IntegrityError(f"{folder}: {error}") from error
    model = _timm_model(folder, content)
    arch = _architecture(folder, model)
    try:
        arch.stack(weights)
    except BadInputError as error:  # it names the tensors that do not fit; a user also wants to know where they are
        raise BadInputError(f"{folder / WEIGHTS}: {error}") from error
    _refuse_another_function(folder, model, arch)
    _refuse_non_finite(folder, weights)
    data = resolve_model_data_config(model)
    preprocessing = Preprocessing(mean=data["mean"], std=data["std"])
    return Checkpoint(arch, weights, digest_file(folder / WEIGHTS), preprocessing)


def _timm_model(folder: Path, content: Any) -> "VisionTransformer":
    import timm
    from timm.models.vision_transformer import VisionTransformer

    if not isinstance(content, dict) or "architecture" not in content:
        raise BadInputError(f"{folder / CONFIG}: no field 'architecture'; not a checkpoint of timm")
    try:
        model = timm.create_model(f"local-dir:{folder}", pretrained=False, device=torch.device("meta"))
    except (RuntimeError, TypeError, ValueError) as error:
        raise BadInputError(f"{folder / CONFIG}: timm cannot build this model: {error}") from error
    if type(model) is not VisionTransformer:
        legal = ", ".join(FAMILIES)
        raise BadInputError(f"{folder}: a {type(model).__name__} is of no family of the zoo; legal families: {legal}")
    return model


def _architecture(folder: Path, model: "VisionTransformer") -> Architecture:
    from timm.layers.attention import Attention

    height, width = model.patch_embed.img_size or (0, 0)
    patch_height, patch_width = model.patch_embed.patch_size
    if height != width or patch_height != patch_width:
        raise BadInputError(f"{folder}: images and patches must be square, got {height}x{width}")
    config = {
        "img_size": height,
        "patch_size": patch_height,
        "in_chans": model.patch_embed.proj.in_channels,
        "num_classes": model.num_classes,
    }
    hidden, _ = model.get_parameter("blocks.0.mlp.fc1.weight").shape
    attention = model.get_submodule("blocks.0.attn")
    assert isinstance(attention, Attention)
    size = Size(depth=len(model.blocks), width=model.embed_dim, heads=attention.num_heads, mlp=hidden)
    return architecture("vit", config, size)


def _refuse_another_function(folder: Path, model: "VisionTransformer", arch: Architecture) -> None:
    """The same tensors under another activation, epsilon or pooling are another model: `condense` would break it."""
    expected = _settings(arch.build("meta"))
    for name, value in _settings(model).items():
        if value != expected[name]:
            raise BadInputError(
                f"{folder / CONFIG}: {name} is {value}; family {arch.family.name!r} has {expected[name]}"
            )


def _settings(model: torch.nn.Module) -> dict[str, str]:
    parts = {"activation": "blocks.0.mlp.act", "norm of a block": "blocks.0.norm1", "last norm": "norm"}
    return {"global_pool": repr(model.global_pool)} | {
        name: repr(model.get_submodule(part)) for name, part in parts.items()
    }


def _refuse_non_finite(folder: Path, weights: dict[str, Tensor]) -> None:
    for name, tensor in weights.items():
        if not torch.isfinite(tensor).all():
            raise IntegrityError(f"{folder / WEIGHTS}: tensor {name!r} holds NaN or infinity")
