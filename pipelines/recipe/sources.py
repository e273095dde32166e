"""Where a stage's weights and learngenes come from: another stage, a folder, the registry; and their identity."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.artifacts.store import Store
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Condense, Fit, Folder, Ref, Refine, Registered, Score, Wave, Weit
from zoo.errors import BadInputError
from zoo.files import digest_file, digest_json
from zoo.manifest import MANIFEST, verify

if TYPE_CHECKING:
    from zoo.architecture import Architecture, Weights
    from zoo.checkpoint import Checkpoint
    from zoo.learngene import Learngene
    from zoo.methods.base import Method

FILES = ("config.json", "model.safetensors", "tokenizer.json", "optimizer.safetensors")
"""What makes a checkpoint folder the checkpoint that it is."""
AnySource = Ref | Folder | Registered


def identify(source: AnySource, keys: dict[str, str]) -> str:
    """What a source is, whatever its name or path: the key of a stage, or the digest of the content.

    Raises `NotFoundError` for a registry entry that does not exist.
    """
    if isinstance(source, Ref):
        return keys[source.stage]
    if isinstance(source, Registered):
        from registry.entries import find_entry  # mlflow takes seconds to import

        return find_entry(source.entry).digest
    return _folder_digest(source.folder)


def locate(source: AnySource, keys: dict[str, str], store: Store) -> Path:
    """The folder that holds a source, verified."""
    if isinstance(source, Ref):
        return store.verified(keys[source.stage])
    if isinstance(source, Registered):
        return _pull(source.entry)
    return source.folder.expanduser().absolute()


def origin(recipe: Recipe, source: AnySource) -> "tuple[Architecture, Method | None]":
    """The architecture that a source has or was made at, and of a learngene its method, before any stage has run."""
    from zoo import Learngene, read_checkpoint
    from zoo.families import architecture

    if isinstance(source, Ref):
        stage = recipe.stages[source.stage]
        if isinstance(stage, Condense):
            return origin(recipe, stage.weights)[0], stage.method
        if isinstance(stage, Refine):
            return origin(recipe, stage.weights)
        if isinstance(stage, Fit):
            made_by = origin(recipe, stage.learngene)[1]
        else:
            made_by = stage.method if isinstance(stage, Weit | Wave) else None
        assert not isinstance(stage, Score)
        return architecture(recipe.family, recipe.config, stage.size), made_by
    folder = source.folder.expanduser() if isinstance(source, Folder) else _pull(source.entry)
    if (folder / MANIFEST).is_file():
        learngene = Learngene.load(folder)
        return learngene.source, learngene.method
    return read_checkpoint(folder).arch, None


def open_checkpoint(folder: Path) -> "Checkpoint":
    """Trained weights, at least in fp32; of a learngene, those of the model at the size it was made at."""
    from zoo import Learngene, instantiate, read_checkpoint
    from zoo.checkpoint import in_full_precision

    if not (folder / MANIFEST).is_file():
        checkpoint = read_checkpoint(folder)
        return replace(checkpoint, weights=in_full_precision(checkpoint.weights))
    learngene = Learngene.load(folder)
    return replace(instantiate(learngene, learngene.source.size), digest=learngene.digest)


def start_weights(folder: Path, arch: "Architecture", seed: int) -> "Weights":
    """The weights (fp32) with which a model of `arch` starts from a learngene or from a checkpoint of its size.

    Config fields that concern the head may differ: the head is then a new one under `seed`. Raises `BadInputError`.
    """
    from zoo import Learngene, instantiate, read_checkpoint
    from zoo.checkpoint import in_full_precision
    from zoo.heads import change_head, with_head

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


def open_learngene(folder: Path, place: str) -> "Learngene":
    """A learngene. Raises `BadInputError` naming the field `place` for another kind of folder."""
    from zoo import Learngene

    if not (folder / MANIFEST).is_file():
        raise BadInputError(f"{place}: {folder} holds no learngene ({MANIFEST} is missing)")
    return Learngene.load(folder)


def holds_something(folder: Path) -> bool:
    """Whether a folder holds a learngene or a checkpoint."""
    folder = folder.expanduser()
    return (folder / MANIFEST).is_file() or all((folder / name).is_file() for name in FILES[:2])


def _pull(entry: str) -> Path:
    from registry.pull import pull  # mlflow takes seconds to import

    return pull(entry)


def _folder_digest(folder: Path) -> str:
    folder = folder.expanduser()
    if (folder / MANIFEST).is_file():
        return verify(folder).digest
    return digest_json({name: digest_file(folder / name) for name in FILES if (folder / name).is_file()})
