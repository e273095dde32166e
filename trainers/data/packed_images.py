"""Sources of labelled images for packing: folders by class, and Parquet tables."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from trainers.data.config import Part
from zoo.errors import BadInputError

if TYPE_CHECKING:
    from pyarrow.parquet import ParquetFile

_ROWS = 64  # of a table in memory at a time


@dataclass(frozen=True)
class Picture:
    """An image as it is in the source, how that is called for people, and the label."""

    place: str
    data: bytes
    label: int

    @property
    def suffix(self) -> str:
        """What the bytes are, whatever the file is called. Raises `BadInputError`."""
        if self.data.startswith(b"\x89PNG\r\n\x1a\n"):
            return "png"
        if self.data.startswith(b"\xff\xd8\xff"):
            return "jpg"
        if self.data[:4] == b"RIFF" and self.data[8:12] == b"WEBP":
            return "webp"
        raise BadInputError(f"{self.place}: not an image that can be packed; legal: JPEG, PNG, WebP")


class Images(ABC):
    """Labelled images of both parts, in an order that is always the same."""

    @abstractmethod
    def classes(self) -> tuple[str, ...] | None:
        """The names of the labels, if they have names."""

    @abstractmethod
    def count(self, part: Part) -> int:
        """How many images a part has."""

    @abstractmethod
    def pictures(self, part: Part) -> Iterator[Picture]:
        """The images of a part. Raises `BadInputError` naming the place."""


@dataclass(frozen=True)
class ClassFolders(Images):
    """Folders `<part>/<class>/**`, as torchvision's ImageFolder has them: classes are numbered by name.

    The images are shuffled (always in the same way), so that the first shard has all classes. Hidden files are left
    out; any other file must be an image.
    """

    parts: dict[Part, list[Path]]

    def classes(self) -> tuple[str, ...]:
        """The folders of the training part."""
        found = tuple(sorted({path.name for path in self._class_folders("train")}))
        if len(found) < 2:
            where = ", ".join(map(str, self.parts["train"]))
            raise BadInputError(f"{where}: {len(found)} folders of classes; legal: 2 or more")
        return found

    def count(self, part: Part) -> int:
        """The number of files."""
        return len(self._files[part])

    def pictures(self, part: Part) -> Iterator[Picture]:
        """File by file."""
        files = self._files[part]
        # `RandomState` is the numpy generator whose stream never changes.
        for number in np.random.RandomState(0).permutation(len(files)):
            path, label = files[number]
            yield Picture(str(path), path.read_bytes(), label)

    @cached_property
    def _files(self) -> dict[Part, list[tuple[Path, int]]]:
        return {part: [*self._of(part)] for part in self.parts}

    def _of(self, part: Part) -> Iterator[tuple[Path, int]]:
        labels = {name: label for label, name in enumerate(self.classes())}
        for folder in self._class_folders(part):
            if folder.name not in labels:
                raise BadInputError(f"{folder}: no class of the training part; legal: {', '.join(labels)}")
            for path in sorted(folder.rglob("*")):
                if path.is_file() and not path.name.startswith("."):
                    yield path, labels[folder.name]

    def _class_folders(self, part: Part) -> list[Path]:
        return [path for root in self.parts[part] for path in sorted(root.iterdir()) if path.is_dir()]


@dataclass(frozen=True)
class Tables(Images):
    """Parquet files with a column of images (bytes, or `{bytes, path}` as on model hubs) and one of labels.

    Labels are numbers from 0, or names, which are numbered in their order. The rows stay in their order.
    """

    parts: dict[Part, list[Path]]
    image: str
    label: str

    def classes(self) -> tuple[str, ...] | None:
        """The names among the training labels."""
        names: set[Any] = set()
        for path in self.parts["train"]:
            column = self._opened(path).read(columns=[self.label]).column(self.label)
            names |= set(column.unique().to_pylist())
        return tuple(sorted(names)) if all(isinstance(name, str) for name in names) else None

    def count(self, part: Part) -> int:
        """The number of rows."""
        return sum(self._opened(path).metadata.num_rows for path in self.parts[part])

    def pictures(self, part: Part) -> Iterator[Picture]:
        """Row by row."""
        labels = {name: label for label, name in enumerate(self.classes() or ())}
        for path in self.parts[part]:
            batches = self._opened(path).iter_batches(_ROWS, columns=[self.image, self.label])
            rows = (row for batch in batches for row in batch.to_pylist())
            for number, row in enumerate(rows):
                yield self._picture(f"{path}, row {number}", row[self.image], row[self.label], labels)

    def _picture(self, place: str, image: Any, label: Any, labels: dict[str, int]) -> Picture:
        data = image.get("bytes") if isinstance(image, dict) else image
        if not isinstance(data, bytes):
            raise BadInputError(f"{place}: column {self.image!r} holds no image bytes")
        number = labels.get(label, -1) if labels else label
        if not isinstance(number, int) or number < 0:
            legal = ", ".join(labels) if labels else "a number from 0"
            raise BadInputError(f"{place}: label {label!r}; legal: {legal}")
        return Picture(place, data, number)

    def _opened(self, path: Path) -> "ParquetFile":
        from pyarrow import ArrowException
        from pyarrow.parquet import ParquetFile

        try:
            table = ParquetFile(path)
        except ArrowException as error:
            raise BadInputError(f"{path}: no Parquet table: {error}") from error
        for option, name in (("--image", self.image), ("--label", self.label)):
            if name not in table.schema_arrow.names:
                raise BadInputError(
                    f"{option}: {path} has no column {name!r}; legal: {', '.join(table.schema_arrow.names)}"
                )
        return table
