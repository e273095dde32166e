"""Packs a folder of images, tables or text into shards with an index. The same source gives the same bytes.

Images become tar shards with members `<number>.<jpg|png|webp>` and `<number>.cls`; their bytes are copied, not decoded.
Text stays text: it is read in order anyway, so a shard is a text file, and only a file larger than a shard is cut, at a
line's end. Tar shards that are there already are copied as they are. So what was packed from shards or from small text
files is the same data as before, with the same identity.
"""

import fnmatch
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from trainers.data.config import Part
from trainers.data.index import INDEX, SHARD_ENDINGS, Index, Shard
from trainers.data.packed_files import copy_shards, write_tars, write_texts
from trainers.data.packed_images import ClassFolders, Images, Tables
from zoo.errors import BadInputError, NotFoundError
from zoo.files import atomic_folder, write_json

T = TypeVar("T")
PARTS: tuple[Part, ...] = ("train", "test")
Parts = dict[Part, list[Path]]
OnPacked = Callable[[int, int], None]  # images or files done, of how many


@dataclass(frozen=True)
class Packing:
    """How to pack.

    train, test: patterns for the names in the source that belong to each part.
    shard_bytes: about how large a shard becomes; a sample that is larger has a shard of its own.
    image, label: the columns of a table.
    """

    train: str = "train*"
    test: str = "test*"
    shard_bytes: int = 256_000_000
    image: str = "image"
    label: str = "label"


def write_packed(source: Path, out: Path, packing: Packing, report: OnPacked) -> Index:
    """Write the shards of `source` and their index into the new folder `out`, or nothing at all.

    Raises:
        NotFoundError: there is no folder `source`.
        BadInputError: `out` is there already, or the source is not as it must be; the message names the place.
        IntegrityError: the disk is full.
    """
    if out.exists():
        raise BadInputError(f"--out: {out} is there already; choose a new folder")
    parts = _parts(source, packing)
    with atomic_folder(out.absolute()) as folder:
        index = _write(parts, folder, packing, report)
        write_json(folder / INDEX, index.model_dump(mode="json", exclude_none=True))
    return index


def _parts(source: Path, packing: Packing) -> Parts:
    if not source.is_dir():
        raise NotFoundError(f"there is no folder {source.absolute()}")
    entries = sorted(path for path in source.iterdir() if not path.name.startswith(".") and path.name != INDEX)
    patterns: dict[Part, str] = {"train": packing.train, "test": packing.test}
    parts: Parts = {
        part: [path for path in entries if fnmatch.fnmatchcase(path.name, pattern)]
        for part, pattern in patterns.items()
    }
    for part, found in parts.items():
        if not found:
            there = ", ".join(path.name for path in entries[:8]) or "nothing"
            raise BadInputError(f"--{part}: nothing in {source} matches {patterns[part]!r}; there is: {there}")
    if both := sorted({*parts["train"]} & {*parts["test"]}):
        raise BadInputError(f"--test: {both[0]} is matched by both {packing.train!r} and {packing.test!r}")
    return parts


def _write(parts: Parts, folder: Path, packing: Packing, report: OnPacked) -> Index:
    entries = [*parts["train"], *parts["test"]]
    if all(entry.is_dir() for entry in entries):
        return _pack_images(ClassFolders(parts), folder, packing, report)
    if not all(entry.is_file() for entry in entries):
        raise BadInputError(f"{entries[0].parent}: both folders and files match; legal: one or the other")
    if all(entry.suffix == ".parquet" for entry in entries):
        return _pack_images(Tables(parts, packing.image, packing.label), folder, packing, report)
    shards: list[Shard] = []
    counted = _Counted(len(entries), report)
    for part, files in parts.items():
        if all(entry.name.endswith(SHARD_ENDINGS) for entry in entries):
            shards += copy_shards(counted(files), folder)
        else:
            shards += write_texts(counted(files), folder, part, packing.shard_bytes)
    return Index(shards=tuple(shards))


def _pack_images(images: Images, folder: Path, packing: Packing, report: OnPacked) -> Index:
    counts = {part: images.count(part) for part in PARTS}
    for part, count in counts.items():
        if not count:
            raise BadInputError(f"--{part}: there is no image")
    counted = _Counted(sum(counts.values()), report)
    shards = [
        shard
        for part in PARTS
        for shard in write_tars(counted(images.pictures(part)), folder, part, packing.shard_bytes)
    ]
    return Index(shards=tuple(shards), classes=images.classes())


@dataclass
class _Counted:
    """Reports what has been taken of several iterables."""

    total: int
    report: OnPacked
    done: int = 0

    def __call__(self, entries: Iterable[T]) -> Iterator[T]:
        for entry in entries:
            yield entry
            self.done += 1
            self.report(self.done, self.total)
