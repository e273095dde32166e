"""The files that a recipe names."""

import fnmatch
from pathlib import Path

from trainers.data.address import local_path
from trainers.data.config import Part, Text, WebDataset
from trainers.data.index import INDEX, SHARD_ENDINGS, Index, Shard
from trainers.data.places import Folder, Place, index_of, needed_index, place_of
from trainers.data.source import Files, FolderFiles, IndexedFolderFiles, RemoteFiles
from zoo.errors import BadInputError, IntegrityError


def part_files(spec: Text | WebDataset, part: Part) -> Files:
    """The files of a part in the order of their names; a single text file holds both parts.

    Raises:
        NotFoundError: there is no such place, it does not answer, or it is an address without an index.
        BadInputError: no name fits the recipe's pattern, or one is no shard's.
        IntegrityError: the index is damaged, or not of this folder.
    """
    if one := one_file(spec):
        return FolderFiles([one])
    place = place_of(spec.path)
    if isinstance(place, Folder):
        names = _matching(spec, part, place, place.names())
        if not (index := index_of(place)):
            return FolderFiles([place.root / name for name in names])
        _refuse_unlisted(place, names, index)
        return IndexedFolderFiles(place, _shards(spec, part, place, index))
    return RemoteFiles(place, _shards(spec, part, place, needed_index(place)), int(spec.max_cached_gb * 1e9))


def one_file(spec: Text | WebDataset) -> Path | None:
    """The file that holds both parts, if it is so."""
    path = local_path(spec.path)
    return path if isinstance(spec, Text) and path and path.is_file() else None


def refuse_shared(spec: Text | WebDataset, train: dict[str, str], test: dict[str, str]) -> None:
    """Raise `BadInputError` if a file is in both parts, by content. The digests are those of `digests`."""
    known = {digest: name for name, digest in train.items()}
    for name, digest in test.items():
        if digest in known:
            raise BadInputError(
                f"data.test: {name} is also training data ({known[digest]}): "
                f"the patterns {spec.train!r} and {spec.test!r} must not share samples"
            )


def _shards(spec: Text | WebDataset, part: Part, place: Place, index: Index) -> list[Shard]:
    if isinstance(spec, WebDataset) and index.classes and len(index.classes) != spec.classes:
        raise BadInputError(f"data.classes: {spec.classes}, but {place.place(INDEX)} names {len(index.classes)}")
    by_name = {shard.name: shard for shard in index.shards}
    return [by_name[name] for name in _matching(spec, part, place, sorted(by_name))]


def _refuse_unlisted(folder: Folder, names: list[str], index: Index) -> None:
    """A shard that somebody added and did not enter must not be left out in silence."""
    if unlisted := sorted(set(names) - {shard.name for shard in index.shards}):
        raise IntegrityError(
            f"{folder.root}: {unlisted[0]} is not in {INDEX} (`zoo data check` shows all such files); "
            f"remove {INDEX} or the file"
        )


def _matching(spec: Text | WebDataset, part: Part, place: Place, names: list[str]) -> list[str]:
    pattern, what = getattr(spec, part), "shard" if isinstance(spec, WebDataset) else "file"
    found = [name for name in names if fnmatch.fnmatchcase(name, pattern) and name != INDEX]
    if not found:
        listing = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        raise BadInputError(
            f"data.{part}: no {what} in {place.url} matches {pattern!r}; there is: {listing or 'nothing'}"
        )
    for name in found:
        if isinstance(spec, WebDataset) and not name.endswith(SHARD_ENDINGS):
            raise BadInputError(
                f"data.{part}: {pattern!r} matches {name} in {place.url}, which is not a shard; "
                f"legal endings: {', '.join(SHARD_ENDINGS)}"
            )
    return found
