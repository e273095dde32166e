"""Where a stage's weights and learngenes come from: another stage, a folder, the registry; and their identity."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pipelines.recipe import Folder, Ref, Registered
from pipelines.store import Store
from zoo.errors import BadInputError
from zoo.files import digest_file, digest_json
from zoo.manifest import MANIFEST, verify

if TYPE_CHECKING:
    from zoo.architecture import Architecture, Weights
    from zoo.checkpoint import Checkpoint
    from zoo.learngene import Learngene

FILES = ("config.json", "model.safetensors", "tokenizer.json")
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
        from registry.pull import pull

        return pull(source.entry)
    return source.folder.expanduser().absolute()


def open_checkpoint(folder: Path) -> "Checkpoint":
    """Trained weights; of a learngene, those of the model at the size it was made at."""
    from zoo import Learngene, instantiate, read_checkpoint

    if not (folder / MANIFEST).is_file():
        return read_checkpoint(folder)
    learngene = Learngene.load(folder)
    return replace(instantiate(learngene, learngene.source.size), digest=learngene.digest)


def start_weights(folder: Path, arch: "Architecture", seed: int) -> "Weights":
    """The weights with which a model of `arch` starts from a learngene or from a checkpoint of its size.

    Config fields that concern the head may differ: the head is then a new one under `seed`. Raises `BadInputError`.
    """
    from zoo import Learngene, instantiate, read_checkpoint
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
    return with_head(arch, start.weights, seed=seed)


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


def _folder_digest(folder: Path) -> str:
    folder = folder.expanduser()
    if (folder / MANIFEST).is_file():
        return verify(folder).digest
    return digest_json({name: digest_file(folder / name) for name in FILES if (folder / name).is_file()})
