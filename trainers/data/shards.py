"""Reads tar shards, one sample after the other, and decodes images.

Nothing is dropped in silence: whatever cannot be used comes out as a `Bad`. `webdataset` groups the members
of a shard to samples; its openers (which know `pipe:` and addresses) and its decoders (which unpickle) are
never called, and its secure mode is on besides.
"""

import gzip
import os
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader, BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from zoo.errors import BadInputError

IMAGE_SUFFIXES = ("jpg", "jpeg", "png", "webp")
_BLOCK = 512  # bytes: tar's unit
_DAMAGE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class Sample:
    """An image as it is in the shard, and its label."""

    shard: str
    key: str
    label: int
    image: bytes


@dataclass(frozen=True)
class Bad:
    """A sample that cannot be used; or, with `cut`, all samples of a shard after the one named."""

    shard: str
    key: str
    why: str
    cut: bool = False

    def __str__(self) -> str:
        """For messages: where it is and what is wrong."""
        if self.cut:
            place = f"after sample {self.key!r}" if self.key else "from its start"
            return f"shard {self.shard} is damaged {place}: {self.why}"
        return f"shard {self.shard}, sample {self.key!r}: {self.why}"


def read_shard(path: Path, name: str, classes: int) -> Iterator[Sample | Bad]:
    """The samples of the shard `name` in their order; a damaged shard ends with a `Bad` whose `cut` is set.

    A label outside 0..classes-1 is a `BadInputError`: the recipe and the data do not fit.
    """
    last = ""
    try:
        for members in _members(path, name):
            last = members["__key__"]
            yield _sample(name, last, members, classes)
    except _DAMAGE as error:
        why = str(error.args[0]).partition(" @ ")[0]  # there webdataset adds the stream's address
        yield Bad(name, last, why, cut=True)


def decode(data: bytes, size: int, channels: int) -> np.ndarray:
    """The pixels, uint8 of shape (size, size, channels). Raises whatever Pillow does on bad bytes."""
    with Image.open(BytesIO(data), formats=("JPEG", "PNG", "WEBP")) as image:
        limit = Image.MAX_IMAGE_PIXELS  # up to twice of it Pillow only warns
        if limit is not None and image.width * image.height > limit:
            raise Image.DecompressionBombError(f"{image.width}x{image.height} pixels, the limit is {limit}")
        if image.mode[0] in "IF":
            raise ValueError(f"pixels of mode {image.mode!r}; legal: 8 bits a channel")
        pixels = image.convert("RGB" if channels == 3 else "L")
    if pixels.size != (size, size):
        pixels = ImageOps.fit(pixels, (size, size), Image.Resampling.BICUBIC)
    return np.asarray(pixels).reshape(size, size, channels)


def _sample(shard: str, key: str, members: dict[str, Any], classes: int) -> Sample | Bad:
    images = [suffix for suffix in IMAGE_SUFFIXES if suffix in members]
    if len(images) != 1 or "cls" not in members:
        found = ", ".join(sorted(name for name in members if not name.startswith("__"))) or "nothing"
        legal = ", ".join(IMAGE_SUFFIXES)
        return Bad(shard, key, f"a sample is one image ({legal}) and one cls; found: {found}")
    try:
        label = int(members["cls"])
    except ValueError:
        return Bad(shard, key, f"the label {members['cls'][:20]!r} is not an integer")
    if not 0 <= label < classes:
        raise BadInputError(f"data.classes: shard {shard}, sample {key!r}: label {label} is outside 0..{classes - 1}")
    return Sample(shard, key, label, members[images[0]])


def _members(path: Path, name: str) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        os.environ["WDS_SECURE"] = "1"  # webdataset reads it once, when it is imported: before the line below
        from webdataset.tariterators import group_by_keys, tar_file_expander  # not where models are only made

        with gzip.GzipFile(fileobj=file) if zipped else file as stream:
            blocks = _Blocks(stream)
            try:
                yield from group_by_keys(tar_file_expander([{"url": name, "stream": blocks}]))
            except ValueError as error:  # two members of the same name
                raise BadInputError(f"data: shard {name}: {error.args[0]}") from error
            blocks.check_end()


class _Blocks:
    """A stream that hands out one tar block at a time, so that it is known where the archive ended.

    `tarfile` takes a missing end for an end, and a broken header too: without this check a shard that was cut
    between two members would just have fewer samples. Reading to the end also verifies gzip's checksum.
    """

    def __init__(self, file: gzip.GzipFile | BufferedReader) -> None:
        self._file = file
        self._last = b""

    def read(self, size: int) -> bytes:
        """The next block, whatever `size` is."""
        self._last = self._file.read(_BLOCK)
        return self._last

    def check_end(self) -> None:
        """Raise `ReadError` unless the archive ended with a zero block and only zeros follow."""
        if len(self._last) < _BLOCK or any(self._last):
            raise tarfile.ReadError("the end-of-archive mark is missing")
        while rest := self._file.read(1 << 16):
            if rest.count(0) != len(rest):
                raise tarfile.ReadError("there is data after the end-of-archive mark")
