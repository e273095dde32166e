"""`Checkpoint`: trained weights of one size; reading ancestors from and writing ready models to folders."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from safetensors import SafetensorError
from torch import Tensor

from zoo.architecture import Architecture, Weights
from zoo.card import Start, model_card
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.files import atomic_folder, digest_file
from zoo.formats import FORMATS, recognise
from zoo.formats.base import CONFIG, WEIGHTS
from zoo.manifest import Preprocessing

CARD = "README.md"


@dataclass(frozen=True)
class Checkpoint:
    """Trained weights of one size, as a state dict."""

    arch: Architecture
    weights: Weights
    digest: str = ""
    """SHA-256 of the weights' file, where it was read from one."""
    preprocessing: Preprocessing | None = None
    tokenizer: str | None = None
    """The content of `tokenizer.json`, where the inputs are text."""

    @cached_property
    def model(self) -> torch.nn.Module:
        """The real model in eval mode, over these very weights; built without any random start."""
        return self.arch.assemble(self.weights).eval()


def save_checkpoint(folder: Path, checkpoint: Checkpoint, *, origin: str) -> None:
    """Write a folder that the family's own library loads, with a card; `origin` is a sentence for the card."""
    with atomic_folder(folder) as temporary:
        write_checkpoint(temporary, checkpoint, origin=origin)


def write_checkpoint(
    folder: Path,
    checkpoint: Checkpoint,
    *,
    origin: str,
    start: Start | None = None,
    scores: Mapping[str, float] | None = None,
) -> None:
    """Fill an empty folder as `save_checkpoint` does.

    `start` is the learngene that it started from, `scores` those on held-out data; both are for the card.
    """
    form = FORMATS[checkpoint.arch.family.library]
    form.write(folder, checkpoint)
    card = model_card(checkpoint.arch, origin, form.usage(checkpoint.arch), start, scores)
    (folder / CARD).write_text(card, encoding="utf-8")


def read_checkpoint(folder: Path | str) -> Checkpoint:
    """Read a checkpoint folder (`config.json`, `model.safetensors`), whoever wrote it.

    Raises:
        NotFoundError: no such folder, or no checkpoint in it.
        BadInputError: not a family of the zoo; the first tensors or the setting that do not fit are named.
        IntegrityError: the weights cannot be read or hold NaN or infinity.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise NotFoundError(f"{folder / name}: missing; a checkpoint folder holds {CONFIG} and {WEIGHTS}")
    place = CONFIG
    try:
        content = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        form = recognise(content)
        arch, preprocessing = form.describe(folder, content)
        place = WEIGHTS
        weights = form.weights(folder, arch)
        arch.stack(weights)
        place = CONFIG
        form.refuse_another_function(folder, arch)
    except BadInputError as error:  # it names what does not fit; a user also wants to know where that is
        raise BadInputError(f"{folder / place}: {error}") from error
    except (SafetensorError, ValueError) as error:
        raise IntegrityError(f"{folder}: {error}") from error
    refuse_non_finite(weights, str(folder / WEIGHTS))
    tokenizer = folder / "tokenizer.json"
    text = tokenizer.read_text(encoding="utf-8") if tokenizer.is_file() else None
    return Checkpoint(arch, weights, digest_file(folder / WEIGHTS), preprocessing, text)


def in_full_precision(weights: Mapping[str, Tensor]) -> Weights:
    """The same numbers at least in fp32, in which they are transformed and trained."""
    return {name: tensor.to(torch.promote_types(tensor.dtype, torch.float32)) for name, tensor in weights.items()}


def refuse_non_finite(weights: Mapping[str, Tensor], place: str) -> None:
    """Raise `IntegrityError` naming the first tensor that holds NaN or infinity."""
    for name, tensor in weights.items():
        # A sum is finite where all terms are (unless it overflows), and takes a third of the time of looking at each.
        if not torch.isfinite(tensor.sum(dtype=torch.float32)) and not torch.isfinite(tensor).all():
            raise IntegrityError(f"{place}: tensor {name!r} holds NaN or infinity")
