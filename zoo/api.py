"""What users call: weights to a learngene, a learngene to a model of any legal size."""

from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import torch

from zoo.checkpoint import Checkpoint, in_full_precision, refuse_non_finite
from zoo.errors import NotFoundError
from zoo.heads import change_head, with_head
from zoo.learngene import Learngene, apart
from zoo.manifest import MANIFEST, read_manifest
from zoo.methods.base import ClosedForm
from zoo.signatures import require_signed
from zoo.size import Size


@torch.no_grad()
def condense(checkpoint: Checkpoint, method: ClosedForm) -> Learngene:
    """The learngene of trained weights, in closed form, at least in fp32; the weights' digest is its parent.

    It shares no memory with the weights, so these may be trained on. Raises `IntegrityError` for weights that hold NaN
    or infinity.
    """
    refuse_non_finite(checkpoint.weights, "weights")
    weights = in_full_precision(checkpoint.weights)
    tensors = method.condense(checkpoint.arch.stack(weights), checkpoint.arch)
    parents = (checkpoint.digest,) if checkpoint.digest else ()
    own = apart(tensors, checkpoint.weights.values())
    return Learngene(method, checkpoint.arch, own, parents, checkpoint.preprocessing, checkpoint.tokenizer)


@torch.no_grad()
def instantiate(learngene: Learngene, size: Size, head: Mapping[str, Any] | None = None, seed: int = 0) -> Checkpoint:
    """The model of `size` that starts from `learngene`. Raises `BadInputError` for a size or a head it cannot give.

    `head` holds new values for config fields that a new use may change (`{"num_classes": 5}`); tensors that they touch
    start at random under `seed`.
    """
    arch, weights = learngene.source.at(size), learngene.expand(size)
    if head:
        arch = change_head(arch, head)
        weights = with_head(arch, weights, seed=seed)
    return Checkpoint(arch, weights, preprocessing=learngene.preprocessing, tokenizer=learngene.tokenizer)


def locate(ref: str) -> Path:
    """The folder of a learngene: `ref` itself, or pulled for `NAME[@alias|:version]` from the registry.

    The registry is looked up by entry point, so that the core never imports it.

    Raises `NotFoundError` for no such learngene or no registry, `BadInputError` for a reference that is not legal or
    means no learngene, `IntegrityError` for one that is damaged or not signed as `ZOO_TRUSTED_KEYS` wants it.
    """
    if is_folder(ref):
        require_signed(Path(ref), read_manifest(Path(ref)).digest, ref)
        return Path(ref)
    for point in entry_points(group="learngene_zoo.resolver"):
        return point.load()(ref)
    raise NotFoundError(f"{ref}: no registry is installed to look this up in (learngene-zoo[registry])")


def is_folder(ref: str) -> bool:
    """Whether `ref` is a learngene's folder. Raises `NotFoundError` for a path where there is none."""
    if (Path(ref) / MANIFEST).is_file():
        return True
    if "/" in ref or Path(ref).is_dir():
        raise NotFoundError(f"{ref}: no learngene here (a folder with {MANIFEST})")
    return False


def load(
    ref: str,
    *,
    depth: int,
    width: int,
    heads: int | None = None,
    mlp: int | None = None,
    head: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> torch.nn.Module:
    """A `torch.nn.Module` of the wanted size that starts from a learngene (folder or registry name), in eval mode.

    >>> model = zoo.load("vit-cifar10.weit@champion", depth=8, width=192, head={"num_classes": 5})

    `head` and `seed` as in `instantiate`.

    Raises:
        NotFoundError: no such learngene.
        BadInputError: a size or a head that it cannot give; the message names the (nearest) legal values.
        IntegrityError: the learngene is damaged.
    """
    learngene = Learngene.load(locate(ref))
    return instantiate(learngene, learngene.size(depth, width, heads, mlp), head, seed).model
