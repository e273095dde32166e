"""What lies in the artifact store and in the caches of this node, how old it is, and how it goes.

What goes has another name first (`.X.gc`), then everything is asked once more; only then it is `.X.gone`, which nobody
puts back. A process that is killed in between leaves names from which the next one goes on.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from pipelines.artifacts.lease import claim, look, store_time
from pipelines.artifacts.store import OUTPUT, Store
from pipelines.artifacts.workspace import WorkSpaces
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import home
from zoo.manifest import read_manifest

DAY = 24 * 3600
GRACE = 1.0
"""Days for what nobody can use any more: half-written folders, work on stages that are finished."""
ASIDE, GONE = ".gc", ".gone"
OWN_RULES = ("stages", "work", "leases")
PULLED = ("learngenes", "ready")
"""Of the node's cache, by digest. What else is there bounds itself, or is small."""
DIGITS = 64
"""Of a key or a digest."""
OURS = re.compile(
    rf"""\.(
        [0-9a-f]{{{DIGITS}}}(\.[\w.]+)?  # a stage, an artifact or a file of a cache on its way in or out
        | (doctor|fetched)\.\w+(\.gone)? | probe-[0-9a-f]{{32}}(\.gone)?  # what trials and downloads left
    )""",
    re.VERBOSE | re.ASCII,
)
"""The dotted names that we make. Any other is somebody else's: snapshots of a file system, a mount point, a trash."""

Kind = Literal["version", "run", "stage", "work", "artifact", "leftover", "cache"]


@dataclass(frozen=True)
class Item:
    """Something that may go, older than `least` days. `what`: a reference, a run, or a path.

    words: what versions would call it.
    """

    kind: Kind
    what: str
    why: str
    days: float
    least: float
    bytes: int = 0
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Stage:
    """A finished stage: its key, the digest of the learngene in it (if it is one), and what it was made of."""

    key: str
    digest: str | None
    made_of: frozenset[str]


def stages(store: Store) -> dict[str, Stage]:
    """The finished stages by key; one whose record cannot be read is left out, and so never garbage."""
    found: dict[str, Stage] = {}
    for folder in _named(store.root / "stages"):
        try:
            record = store.read(folder.name)
        except IntegrityError:
            continue
        if record:
            found[folder.name] = Stage(folder.name, _digest(folder / OUTPUT), frozenset(record.inputs.values()))
    return found


def reachable(found: dict[str, Stage], needed: frozenset[str]) -> frozenset[str]:
    """`needed`, and what those stages were made of, and so on: keys and digests."""
    by_digest = {stage.digest: stage for stage in found.values() if stage.digest}
    seen, todo = set(needed), list(needed)
    while todo:
        word = todo.pop()
        for stage in {found.get(word), by_digest.get(word)} - {None}:
            assert stage
            more = ({stage.key} | stage.made_of) - seen
            seen |= more
            todo += more
    return frozenset(seen)


def litter(store: Store, found: dict[str, Stage], used: frozenset[str], days: float) -> list[Item]:
    """What is on the disk that nothing in `used` names, and nobody has touched for so many days."""
    return [item for item in _unused(store, found, used, days) if item.days >= item.least]


def remove(item: Item, store: Store, is_named: Callable[[tuple[str, ...]], bool]) -> str | None:
    """Remove what lies on a disk, unless somebody uses it or names it by now; why it stays, or None."""
    try:
        return _remove_unused(item, store, is_named)
    except OSError as error:  # a mount point, somebody else's files: the next one is no worse for it
        return f"it cannot be deleted: {error.strerror or error}"


def recover(store: Store) -> None:
    """Put back what a collection that was killed had only put aside."""
    for folder in _places(store):
        for path in _dotted(folder):
            original = path.with_name(path.name[1:].removesuffix(ASIDE))
            if path.name.endswith(ASIDE) and not original.exists():
                path.rename(original)


def _remove_unused(item: Item, store: Store, is_named: Callable[[tuple[str, ...]], bool]) -> str | None:
    path = Path(item.what)
    if item.kind in ("stage", "work"):
        lease = claim(store.root, path.name, WorkSpaces(store.root / "work" / path.name).used(), store.ttl)
        if lease is None:
            return "a run works on it"
        try:
            return _remove(item, store, is_named)
        finally:
            lease.release()
    if item.kind == "cache":
        try:
            with FileLock(path.with_name(f".{path.name}.lock"), timeout=0):  # of whoever pulls it
                return _remove(item, store, is_named)
        except Timeout:
            return "somebody pulls it"
    return _remove(item, store, is_named)


def _remove(item: Item, store: Store, is_named: Callable[[tuple[str, ...]], bool]) -> str | None:
    path = Path(item.what)
    plain = path.name.removeprefix(".").removesuffix(GONE)
    aside, gone = path.with_name(f".{plain}{ASIDE}"), path.with_name(f".{plain}{GONE}")
    if item.kind == "leftover":
        aside = path  # it has no name that anybody could want back
    reason: str | None = "the look at it was cut short"
    try:
        path.rename(aside)
    except FileNotFoundError:
        return "it is gone already"
    try:
        reason = "somebody used it" if _days(store, aside) < item.least else None
        reason = reason or ("a version names it" if is_named(item.words) else None)
    finally:
        aside.rename(path if reason else gone)
    if reason is None and gone.is_dir():
        shutil.rmtree(gone)
    elif reason is None:
        gone.unlink()
    return reason


def _unused(store: Store, found: dict[str, Stage], used: frozenset[str], days: float) -> Iterator[Item]:
    for key, stage in found.items():
        if not used & {key, stage.digest}:
            words = (key, stage.digest) if stage.digest else (key,)
            yield _item(store, "stage", store.root / "stages" / key, "nothing needs it", days, words)
    for folder in _named(store.root / "work"):
        if look(store.root, folder.name) is None:
            done = folder.name in found
            why, least = ("its stage is finished", GRACE) if done else ("nobody goes on with it", days)
            yield _item(store, "work", folder, why, least)
    kinds: dict[Path, Kind] = {home() / "cache" / name: "cache" for name in PULLED}
    kinds |= {shelf: "artifact" for shelf in _folders(store.root) if shelf.name not in OWN_RULES}
    for shelf, kind in kinds.items():
        for folder in _named(shelf):
            if folder.name not in used:
                yield _item(store, kind, folder, "no version names it", days, (folder.name,))
    for folder in _places(store):
        for path in _dotted(folder):
            yield _item(store, "leftover", path, "half of something", 0 if path.name.endswith(GONE) else GRACE)


def _item(store: Store, kind: Kind, path: Path, why: str, least: float, words: tuple[str, ...] = ()) -> Item:
    return Item(kind, str(path), why, round(_days(store, path), 2), least, _bytes(path), words)


def _days(store: Store, path: Path) -> float:
    """Since the newest change below `path`, by the clock of the store."""
    now = store_time(store.root)
    return (now - max((stat.st_mtime for stat in _stats(path)), default=now)) / DAY


def _bytes(path: Path) -> int:
    """Of the files below `path`, each once, however many names it has."""
    return sum({(stat.st_dev, stat.st_ino): stat.st_size for stat in _stats(path)}.values())


def _stats(path: Path) -> list[os.stat_result]:
    found: list[os.stat_result] = []
    for each in (path, *path.rglob("*")):
        with suppress(FileNotFoundError):  # it changes while we look
            found.append(each.lstat())
    return found


def _digest(folder: Path) -> str | None:
    try:
        return read_manifest(folder).digest
    except (NotFoundError, IntegrityError):
        return None


def _places(store: Store) -> list[Path]:
    """The folders in which something may be half-written."""
    cache = home() / "cache"
    return [store.root, *_folders(store.root), cache, *_folders(cache)]


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in _entries(folder) if path.is_dir() and not path.name.startswith("."))


def _named(folder: Path) -> list[Path]:
    """What is called by a key or a digest: what we put there."""
    return [path for path in _folders(folder) if len(path.name) == DIGITS and set(path.name) <= set("0123456789abcdef")]


def _dotted(folder: Path) -> list[Path]:
    """What we left half-done, locks left out."""
    return [path for path in _entries(folder) if OURS.fullmatch(path.name) and not path.name.endswith(".lock")]


def _entries(folder: Path) -> list[Path]:
    return list(folder.iterdir()) if folder.is_dir() else []
