"""Where data lie: a folder of this machine, or one behind an address; and the index that lies there."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from trainers.data.address import checked_address, local_path
from trainers.data.index import INDEX, Index, parse_index
from trainers.data.remote import AwayError, Remote
from zoo.errors import BadInputError, NotFoundError


@dataclass(frozen=True)
class Folder:
    """A folder of this machine."""

    root: Path

    @property
    def url(self) -> str:
        """The path, for messages."""
        return str(self.root)

    def read(self, name: str) -> bytes:
        """A small file. Raises `NotFoundError`."""
        with self.fetched(name) as path:
            return path.read_bytes()

    def names(self) -> list[str]:
        """The names of the files, sorted."""
        return sorted(path.name for path in self.root.iterdir() if path.is_file())

    def place(self, name: str) -> str:
        """The path of a file."""
        return str(self.root / name)

    @contextmanager
    def fetched(self, name: str) -> Iterator[Path]:
        """A file where it is. Raises `NotFoundError`."""
        path = self.root / name
        if not path.is_file():
            raise NotFoundError(f"{path} is not there")
        yield path


Place = Folder | Remote


def place_of(path: str) -> Place:
    """The place of a path or an address. Raises `NotFoundError`, `BadInputError`."""
    try:
        folder = local_path(checked_address(path))
    except ValueError as error:
        raise BadInputError(f"data.path: {error}") from error
    if folder is None:
        return Remote(path)
    if not folder.is_dir():
        raise NotFoundError(f"data.path: {path!r}: there is no folder {folder}")
    return Folder(folder)


def index_of(place: Place) -> Index | None:
    """The index of the data in a place, None if there is none. Raises `AwayError`, `IntegrityError`."""
    try:
        content = place.read(INDEX)
    except AwayError:
        raise
    except NotFoundError:
        return None
    return parse_index(content, place.place(INDEX))


def needed_index(place: Place) -> Index:
    """The index, which must be there. Raises `NotFoundError` if it is not, and what `index_of` raises."""
    if (index := index_of(place)) is None:
        raise NotFoundError(f"{place.place(INDEX)} is not there; `zoo data pack` writes shards with an index")
    return index
