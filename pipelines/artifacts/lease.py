"""Leases: which run works on a stage, on any folder that the hosts share.

leases/<key>/<token>  one file for the run that holds the stage; its tokens only grow, and the highest one counts
clock                 touched to read the file system's own clock: hosts need not agree about the time

A holder touches its file every few seconds. One that no longer does is taken over: by a file with the next token. It
may still live, paused or cut off, so it is fenced: it works in a folder of its own (see `pipelines.artifacts.store`),
and its result comes too late. Where both run on one machine, a lock that ends with its process makes the wait short.
"""

import fcntl
import json
import os
import socket
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Lock, Thread
from uuid import uuid4

from zoo.errors import ZooError
from zoo.files import full_disk_is_an_integrity_error

TTL = 30.0
"""Seconds after which a lease that was not renewed is anybody's."""
JOB = "ZOO_JOB"
"""The variable that names the Ray job this process is the runner of."""

_LOST = (
    "the lease on stage {key} is lost: this run was not heard of for too long, and another one took over;"
    " the same command joins it"
)


class LeaseLostError(ZooError):
    """Another run has taken over the stage, because this one was not heard of for too long."""


@dataclass(frozen=True)
class Holder:
    """Who works on a stage. `kernel`: whose locks tell whether it lives (null: no locks in this file system)."""

    host: str
    pid: int
    job: str | None
    kernel: str | None
    ttl: float
    nonce: str

    def __str__(self) -> str:
        where = f"{self.host}, pid {self.pid}"
        return f"{where}, job {self.job}" if self.job else where


@dataclass(frozen=True)
class Held:
    """The lease file with the highest token of a stage, at one look."""

    token: int
    holder: Holder | None
    """Null in the moment in which the file is made."""
    alive: bool


class Lease:
    """Held by this process until `release`; a thread renews it."""

    def __init__(self, path: Path, descriptor: int, holder: Holder) -> None:
        self.path, self.holder = path, holder
        self._descriptor, self._ended, self._lost = descriptor, Event(), Event()
        self._releasing = Lock()
        Thread(target=self._renew, name=f"lease-{path.parent.name[:8]}", daemon=True).start()

    @property
    def token(self) -> int:
        """Larger than that of everybody who held the stage before."""
        return int(self.path.name)

    def lost(self) -> bool:
        """Whether another run has taken over before this one let go. True for good once it is."""
        if not self._lost.is_set() and not self._ended.is_set():
            with suppress(OSError):  # the store is away: nobody can take over either
                if is_lost(self.path) or _read(self.path) not in (self.holder, None):
                    self._lost.set()
        return self._lost.is_set()

    def known_lost(self) -> bool:
        """What the last look of the thread said; asks nobody."""
        return self._lost.is_set()

    def check(self) -> None:
        """Raise `LeaseLostError` unless the stage is still ours."""
        if self.lost():
            raise LeaseLostError(_LOST.format(key=self.path.parent.name[:12]))

    def release(self) -> None:
        """Let others have the stage at once; nothing happens the second time."""
        with self._releasing:
            if self._ended.is_set():
                return
            ours = not self.lost()
            self._ended.set()
            os.close(self._descriptor)  # first: NFS keeps a file that is open, under a name of its own
            if ours:
                with suppress(OSError):  # the store is away, or somebody else's file is in the folder
                    self.path.unlink(missing_ok=True)
                    self.path.parent.rmdir()

    def _renew(self) -> None:
        while not self._ended.wait(self.holder.ttl / 6) and not self.lost():
            with suppress(OSError):
                os.utime(self.path)


def check_lease(path: Path) -> None:
    """What a worker asks now and then: raise `LeaseLostError` where its run no longer holds the lease `path`."""
    with suppress(OSError):  # the store is away: nobody can take over either
        if is_lost(path):
            raise LeaseLostError(_LOST.format(key=path.parent.name[:12]))


def is_lost(path: Path) -> bool:
    """Whether the lease file `path` is no more the one that counts. Raises `OSError` where the store is away."""
    tokens = _tokens(path.parent)
    return int(path.name) not in tokens or max(tokens) > int(path.name)


def look(root: Path, key: str) -> Held | None:
    """Who holds a stage of the store in `root`; null where nobody does, or has left a dead lease only."""
    held = _look(root, root / "leases" / key)
    return held if held and held.alive else None


def claim(root: Path, key: str, used: int, ttl: float = TTL) -> Lease | None:
    """Take the lease on a stage if nobody alive holds it. `used` is the highest token that left work behind."""
    folder = root / "leases" / key
    folder.mkdir(parents=True, exist_ok=True)
    held = _look(root, folder)
    if held and held.alive:
        return None
    path = folder / str(max(used, held.token if held else 0) + 1)
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    except (FileExistsError, FileNotFoundError):  # somebody was faster: to take it, or to finish and clean up
        return None
    if is_lost(path):  # and somebody else was faster still
        path.unlink()
        os.close(descriptor)
        return None
    holder = _sign(path, descriptor, ttl)
    for token in _tokens(folder):
        if token < int(path.name):  # a higher one belongs to whoever took over while this process stood still
            (folder / str(token)).unlink(missing_ok=True)
    return Lease(path, descriptor, holder)


def _sign(path: Path, descriptor: int, ttl: float) -> Holder:
    kernel: str | None = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # not every shared file system has locks: then only the age of the file tells
        kernel = None
    holder = Holder(socket.gethostname(), os.getpid(), os.environ.get(JOB), kernel, ttl, uuid4().hex)
    try:
        with full_disk_is_an_integrity_error(path):
            os.write(descriptor, json.dumps(asdict(holder)).encode())
    except BaseException:
        path.unlink()
        os.close(descriptor)
        raise
    return holder


def _look(root: Path, folder: Path) -> Held | None:
    tokens = _tokens(folder)
    if not tokens:
        return None
    path = folder / str(max(tokens))
    try:
        with path.open(encoding="utf-8") as file:
            holder, touched = _parse(file.read()), os.fstat(file.fileno()).st_mtime
            fresh = store_time(root) - touched <= (holder.ttl if holder else TTL)
            return Held(int(path.name), holder, fresh and not (holder and _is_dead(holder, file.fileno())))
    except FileNotFoundError:  # released in this moment
        return None


def _is_dead(holder: Holder, descriptor: int) -> bool:
    """Whether the process that locked the file is gone; only its own kernel knows."""
    if holder.kernel != Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip():
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def store_time(root: Path) -> float:
    """Now, by the clock of the file system that holds the store."""
    clock = root / "clock"
    clock.touch()
    return clock.stat().st_mtime


def _read(path: Path) -> Holder | None:
    return _parse(path.read_text(encoding="utf-8"))


def _parse(text: str) -> Holder | None:
    return Holder(**json.loads(text)) if text else None


def _tokens(folder: Path) -> set[int]:
    try:
        return {int(path.name) for path in folder.iterdir() if path.name.isdecimal()}  # not what NFS keeps there
    except FileNotFoundError:
        return set()
