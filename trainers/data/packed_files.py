"""Writes shards into a folder; yields what the index says of each."""

import io
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TypeVar

from trainers.data.config import Part
from trainers.data.contents import ANY_CLASSES, checked_line
from trainers.data.index import Shard
from trainers.data.packed_images import Picture
from trainers.data.shards import Bad, read_shard
from zoo.errors import BadInputError
from zoo.files import digest_file

T = TypeVar("T")


def write_tars(pictures: Iterable[Picture], folder: Path, part: Part, limit: int) -> Iterator[Shard]:
    """Tar shards of about `limit` bytes, with nothing in them but names and contents."""
    named = ((f"{number:09d}", picture) for number, picture in enumerate(pictures))
    for shard, group in _shards(named, lambda entry: _tar_size(entry[1]), limit):
        path = folder / f"{part}-{shard:06d}.tar"
        samples = 0
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            for key, picture in group:
                _add(archive, f"{key}.{picture.suffix}", picture.data)
                _add(archive, f"{key}.cls", str(picture.label).encode())
                samples += 1
        yield _described(path, samples)


def write_texts(files: Iterable[Path], folder: Path, part: Part, limit: int) -> Iterator[Shard]:
    """A text file for each file; several for one that is larger than `limit` bytes."""
    number = 0
    for file in files:
        with file.open("rb") as lines:
            for _, group in _shards(enumerate(lines, start=1), lambda line: len(line[1]), limit):
                path = folder / f"{part}-{number:06d}.txt"
                samples = 0
                with path.open("wb") as out:
                    for position, line in group:
                        checked_line(line, f"{file}, line {position}")
                        out.write(line)
                        samples += 1
                yield _described(path, samples)
                number += 1


def copy_shards(files: Iterable[Path], folder: Path) -> Iterator[Shard]:
    """The same tar shards under the same names."""
    for file in files:
        samples = 0
        for sample in read_shard(file, file.name, ANY_CLASSES):
            if isinstance(sample, Bad):
                raise BadInputError(f"{file.parent}: {sample}")
            samples += 1
        yield _described(Path(shutil.copyfile(file, folder / file.name)), samples)


def _shards(entries: Iterable[T], size: Callable[[T], int], limit: int) -> Iterator[tuple[int, Iterator[T]]]:
    """Entries in groups of at most `limit` (if an entry alone is not larger), numbered from 0."""

    def numbered() -> Iterator[tuple[int, T]]:
        shard = used = 0
        for entry in entries:
            if used and used + size(entry) > limit:
                shard, used = shard + 1, 0
            used += size(entry)
            yield shard, entry

    for shard, group in groupby(numbered(), key=lambda pair: pair[0]):
        yield shard, (entry for _, entry in group)


def _tar_size(picture: Picture) -> int:
    """Headers and whole blocks of an image and its label."""
    return 3 * tarfile.BLOCKSIZE + -(-len(picture.data) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)  # no owner, and the beginning of time
    member.size = len(data)
    archive.addfile(member, io.BytesIO(data))


def _described(path: Path, samples: int) -> Shard:
    return Shard(name=path.name, samples=samples, sha256=digest_file(path), bytes=path.stat().st_size)
