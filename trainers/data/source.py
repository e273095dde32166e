"""Files of data wherever they lie: in a folder, with or without an index, or behind an address with one."""

from abc import ABC, abstractmethod
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from trainers.data.digests import digests
from trainers.data.index import Shard
from trainers.data.places import Folder
from trainers.data.remote import Remote
from trainers.data.shard_cache import ShardCache
from zoo.errors import IntegrityError
from zoo.files import digest_file

_AHEAD = 2  # shards that are downloaded while one is read


@dataclass(frozen=True)
class Opened:
    """A file that can be read: its name in the data set, where it comes from, where it lies now."""

    name: str
    place: str
    path: Path


class Files(ABC):
    """The files of a part of a data set, in the order of their names."""

    @abstractmethod
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each, by name. With an index it is what that says, and no file is touched."""

    @abstractmethod
    def opened(self) -> Generator[Opened, None, None]:
        """One after the other; each stays until the next one is asked for. Raises `IntegrityError`."""


@dataclass(frozen=True)
class FolderFiles(Files):
    """Files of a folder without an index: they are what they are."""

    paths: list[Path]

    def digests(self) -> dict[str, str]:
        """Computed, and kept as long as the files do not change."""
        return digests(self.paths)

    def opened(self) -> Generator[Opened, None, None]:
        """Where they are."""
        return (Opened(path.name, str(path), path) for path in self.paths)


@dataclass(frozen=True)
class IndexedFolderFiles(Files):
    """Files of a folder that an index describes: none is read that is not as the index says."""

    folder: Folder
    shards: list[Shard]

    def digests(self) -> dict[str, str]:
        """From the index."""
        return _promised(self.shards)

    def opened(self) -> Generator[Opened, None, None]:
        """Where they are."""
        for shard in self.shards:
            with self.folder.fetched(shard.name) as path:
                verify(shard, digest_file(path), str(self.folder.root))
                yield Opened(shard.name, str(path), path)


@dataclass(frozen=True)
class RemoteFiles(Files):
    """Files behind an address, through the cache of the node, which may have `limit` bytes."""

    remote: Remote
    shards: list[Shard]
    limit: int

    def digests(self) -> dict[str, str]:
        """From the index."""
        return _promised(self.shards)

    def opened(self) -> Generator[Opened, None, None]:
        """In the cache; the next ones arrive there while one is read."""
        # What would push out what has just arrived is not fetched early.
        ahead = min(_AHEAD, self.limit // max([1, *(shard.bytes for shard in self.shards)]) - 1)
        early: dict[str, Future[None]] = {}
        with ThreadPoolExecutor(_AHEAD) as threads:
            try:
                for number, shard in enumerate(self.shards):
                    for later in self.shards[number + 1 : number + 1 + ahead]:
                        if later.name not in early:
                            early[later.name] = threads.submit(self._fetch, later)
                    if shard.name in early:
                        early[shard.name].result()
                    with self._cached(shard) as path:
                        yield Opened(shard.name, self.remote.place(shard.name), path)
            finally:
                threads.shutdown(cancel_futures=True)

    def _fetch(self, shard: Shard) -> None:
        with self._cached(shard):
            pass

    def _cached(self, shard: Shard) -> AbstractContextManager[Path]:
        def download(file: BinaryIO) -> None:
            verify(shard, self.remote.download(shard.name, file), self.remote.url)

        return ShardCache(self.limit).opened(shard, download)


def verify(shard: Shard, digest: str, url: str) -> None:
    """Raise `IntegrityError` if a shard is not the one that the index names."""
    if digest != shard.sha256:
        raise IntegrityError(
            f"shard {shard.name} of {url} has SHA-256 {digest}, but the index says {shard.sha256}: "
            f"it was damaged or replaced (`zoo data check {url}` finds all such shards)"
        )


def _promised(shards: list[Shard]) -> dict[str, str]:
    return {shard.name: shard.sha256 for shard in shards}
