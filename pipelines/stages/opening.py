"""What stages start from, read from the folders that `pipelines.recipe.sources` located."""

from dataclasses import replace
from pathlib import Path

from zoo import Learngene, instantiate, read_checkpoint
from zoo.architecture import Architecture, Weights
from zoo.checkpoint import Checkpoint, in_full_precision
from zoo.errors import BadInputError
from zoo.heads import change_head, with_head
from zoo.manifest import MANIFEST


def open_checkpoint(folder: Path) -> Checkpoint:
    """Trained weights, at least in fp32; of a learngene, those of the model at the size it was made at."""
    if not (folder / MANIFEST).is_file():
        checkpoint = read_checkpoint(folder)
        return replace(checkpoint, weights=in_full_precision(checkpoint.weights))
    learngene = Learngene.load(folder)
    return replace(instantiate(learngene, learngene.source.size), digest=learngene.digest)


def start_weights(folder: Path, arch: Architecture, seed: int) -> Weights:
    """The weights (fp32) with which a model of `arch` starts from a learngene or from a checkpoint of its size.

    Config fields that concern the head may differ: the head is then a new one under `seed`. Raises `BadInputError`.
    """
    start = Learngene.load(folder) if (folder / MANIFEST).is_file() else read_checkpoint(folder)
    source = start.source if isinstance(start, Learngene) else start.arch
    if source.family is not arch.family:
        raise BadInputError(f"a {source.family.name!r} cannot start a model of family {arch.family.name!r}")
    before, after = source.config.model_dump(), arch.config.model_dump()
    head = {field: value for field, value in after.items() if before[field] != value}
    if isinstance(start, Learngene):
        return instantiate(start, arch.size, head, seed).weights
    change_head(source, head)
    if source.size != arch.size:
        raise BadInputError(f"a checkpoint of {source.size} cannot start a model of {arch.size}; condense it first")
    return with_head(arch, in_full_precision(start.weights), seed=seed)


def open_learngene(folder: Path, place: str) -> Learngene:
    """A learngene. Raises `BadInputError` naming the field `place` for another kind of folder."""
    if not (folder / MANIFEST).is_file():
        raise BadInputError(f"{place}: {folder} holds no learngene ({MANIFEST} is missing)")
    return Learngene.load(folder)
