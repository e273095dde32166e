"""The cache of a node for shards from elsewhere, bounded in size.

`<home>/cache/shards/` holds `<sha256>` and, while it is downloaded, `<sha256>.part`, which has its final size from the
start. Whoever uses a file holds a lock (`flock`) on it: readers a shared one, a download an exclusive one. So a lock
ends with its process, a `.part` without a lock was left behind, and a file without a lock may go.
"""

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from filelock import FileLock

from trainers.data.index import Shard
from zoo.errors import BadInputError
from zoo.files import full_disk_is_an_integrity_error, home

_PAUSE = 0.05  # seconds between two looks at what another process does
_LOCK = ".lock"

Download = Callable[[BinaryIO], None]
"""Writes a shard into a file and verifies it, or raises."""


@dataclass(frozen=True)
class ShardCache:
    """The cache of this node, for a process that lets it have at most `limit` bytes."""

    limit: int

    @contextmanager
    def opened(self, shard: Shard, download: Download) -> Iterator[Path]:
        """The file of a shard, downloaded if it is not there; it stays until the block ends.

        Least recently used shards make room; where all are in use, this waits. Raises `BadInputError` for a
        shard larger than the limit, `IntegrityError` for a full disk, and what `download` raises.
        """
        if shard.bytes > self.limit:
            raise BadInputError(
                f"data.max_cached_gb: {self.limit / 1e9:g} GB (10^9 bytes) is less than shard {shard.name}, "
                f"{shard.bytes} bytes"
            )
        path = self._root / shard.sha256
        while (file := _shared(path)) is None:
            self._download(shard, download)
        with file:
            now = time.time_ns()  # the kernel's own clock for this is too coarse to tell an order
            os.utime(path, ns=(now, now))
            yield path

    @property
    def _root(self) -> Path:
        return home() / "cache" / "shards"

    def _download(self, shard: Shard, download: Download) -> None:
        """Put the file there; or wait a moment, where another process does so or there is no room yet."""
        path = self._root / shard.sha256
        part = path.with_suffix(".part")
        with full_disk_is_an_integrity_error(path):
            file = self._admitted(shard, path, part)
            if file is None:
                time.sleep(_PAUSE)
                return
            with file:
                try:
                    download(file)
                    file.flush()
                    os.fsync(file.fileno())
                except BaseException:
                    with self._changes():
                        part.unlink()
                    raise
                with self._changes():
                    part.replace(path)

    def _admitted(self, shard: Shard, path: Path, part: Path) -> BinaryIO | None:
        """The `.part` of a shard, locked and of its final size; None while it is not this process's turn."""
        with self._changes():
            if path.exists():
                return None
            file = os.fdopen(os.open(part, os.O_RDWR | os.O_CREAT, 0o644), "r+b")
            if not _locked(file):
                file.close()
                return None
            if not self._make_room(shard.bytes, part):
                part.unlink()
                file.close()
                return None
            file.truncate(shard.bytes)
            return file

    def _make_room(self, wanted: int, own: Path) -> bool:
        files = [(path, path.stat()) for path in self._root.iterdir() if path not in (own, self._root / _LOCK)]
        used = sum(stat.st_size for _, stat in files)
        for path, stat in sorted(files, key=lambda entry: entry[1].st_mtime_ns):
            if used + wanted <= self.limit:
                break
            used -= stat.st_size if _removed(path) else 0
        return used + wanted <= self.limit

    @contextmanager
    def _changes(self) -> Iterator[None]:
        """Files come and go only here, one process at a time."""
        self._root.mkdir(parents=True, exist_ok=True)
        with FileLock(self._root / _LOCK):
            yield


def _shared(path: Path) -> BinaryIO | None:
    """The file, which stays until it is closed; None if it is not there."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    if os.fstat(file.fileno()).st_nlink:
        return file
    file.close()  # it went between the two lines above
    return None


def _removed(path: Path) -> bool:
    """Remove a file that nobody uses."""
    with path.open("rb") as file:
        if free := _locked(file):
            path.unlink()
        return free


def _locked(file: BinaryIO) -> bool:
    """Take the exclusive lock if nobody has a lock."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
