"""Files that are either whole or not there: digests, atomic folders, canonical JSON."""

import errno
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from safetensors import SafetensorError

from zoo.errors import BadInputError, DiskFullError

FULL = 64 * 1024
"""A disk with less than so many bytes left counts as full."""
SIGNATURE = "signature.json"
"""What others say of a learngene afterwards: beside its files, and no part of its content."""


def home() -> Path:
    """Where everything of this user lives: `$ZOO_HOME`, else `~/.learngene-zoo` (absolute)."""
    return Path(os.environ.get("ZOO_HOME") or Path.home() / ".learngene-zoo").expanduser().absolute()


def canonical_json(value: Any) -> str:
    """One text for one value: sorted keys, no spaces. Raises `TypeError` rather than guess, `ValueError` on NaN."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest_json(value: Any) -> str:
    """SHA-256 (hex) of the canonical JSON of `value`."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


def digest_file(path: Path) -> str:
    """SHA-256 (hex) of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_folder(folder: Path) -> str:
    """SHA-256 over the relative names and the bytes of all files below `folder`, signatures left out."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != SIGNATURE)
    return digest_json({path.relative_to(folder).as_posix(): digest_file(path) for path in files})


@contextmanager
def atomic_folder(target: Path) -> Iterator[Path]:
    """Yield an empty folder beside `target` that becomes `target` (replacing it) when the block ends well.

    Everything is flushed to disk before the rename. After an error nothing is left behind; a full disk is
    reported as `IntegrityError`, since the artifact could not be written whole.
    """
    with full_disk_is_an_integrity_error(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    try:
        temporary.chmod(0o755)  # mkdtemp is private; an artifact may be shared
        with full_disk_is_an_integrity_error(target):
            yield temporary
            flush_folder(temporary)
            _replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_folder(folder: Path) -> None:
    """Remove a folder that others may be reading: it has another name before the first of its files is gone."""
    aside = folder.with_name(f".{folder.name.removeprefix('.')}.{uuid4().hex}")
    with suppress(OSError):  # somebody else was faster
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def check_out(folder: Path, own: Collection[str] = ()) -> None:
    """Raise `BadInputError` where `--out FOLDER` cannot become a result whose entries are named `own`.

    An earlier result is replaced; whatever else lies in the folder would be lost.
    """
    if folder.exists() and not folder.is_dir():
        raise BadInputError(f"--out: {folder} is not a folder; choose another")
    others = sorted({path.name for path in folder.iterdir()} - set(own)) if folder.exists() else []
    if others:
        raise BadInputError(f"--out: {folder} holds something else ({others[0]}); choose another folder")
    if Path.cwd().is_relative_to(folder.resolve()):
        raise BadInputError(f"--out: {folder} is the folder you are in, which cannot be replaced; choose another")
    place = next(parent for parent in folder.absolute().parents if parent.exists())
    if not place.is_dir() or not os.access(place, os.W_OK):
        raise BadInputError(f"--out: {folder}: no folder can be made in {place}; choose another")


def write_json(path: Path, value: Any) -> None:
    """Write readable JSON so that `path` holds all of it or is as it was before."""
    with full_disk_is_an_integrity_error(path):
        descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(value, file, indent=2, sort_keys=True, allow_nan=False)
                file.write("\n")
                file.flush()
                os.fsync(file.fileno())
            Path(name).chmod(0o644)
            Path(name).replace(path)
        finally:
            Path(name).unlink(missing_ok=True)


@contextmanager
def full_disk_is_an_integrity_error(target: Path) -> Iterator[None]:
    """Turn "no space left" into an `IntegrityError` that names the place.

    Libraries wrap the system's error in their own types, or only notice that a file is too short; then the disk
    itself says whether it is full.
    """
    try:
        yield
    except (OSError, RuntimeError, SafetensorError) as error:
        told = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
        if told or _free_bytes(target) < FULL:
            raise DiskFullError(f"{target}: the disk is full; nothing was written") from error
        raise


def _free_bytes(place: Path) -> int:
    existing = next(folder for folder in (place, *place.parents) if folder.exists())
    return shutil.disk_usage(existing).free


def flush_folder(folder: Path) -> None:
    """Force everything below `folder` to the disk, so that a rename after it is never of empty files."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _replace(temporary: Path, target: Path) -> None:
    if target.exists():  # a folder cannot be renamed over a full one: move the old one aside first
        aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent))
        target.rename(aside / "old")
        temporary.rename(target)
        shutil.rmtree(aside)
    else:
        temporary.rename(target)
