"""Where a stage's weights and learngenes come from: another stage, a folder, the registry; and their identity."""

from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.artifacts.store import Store
from pipelines.recipe.recipe import Recipe
from pipelines.recipe.stages import Condense, Fit, Folder, Ref, Refine, Registered, Score, Wave, Weit
from zoo.files import digest_file, digest_json
from zoo.manifest import MANIFEST, verify

if TYPE_CHECKING:
    from zoo.architecture import Architecture
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
