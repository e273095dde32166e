"""Whether a file system does what the artifact store stands on: tried out, not looked up."""

import errno
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from registry.doctor import Check
from zoo.errors import ZooError
from zoo.files import flush_folder, full_disk_is_an_integrity_error, write_json

ADVICE = "put ZOO_HOME on a file system that can be written and does this (docs/deploy.md)"
BLOCK = 2**20


def check_store(root: Path) -> Check:
    """Whether a result in the store at `root` appears whole, once, and lasts."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        place = Path(tempfile.mkdtemp(prefix=".doctor.", dir=root))
    except OSError as error:
        return Check("artifact store", "failure", f"{root} cannot be written: {error.strerror}", ADVICE)
    try:
        with full_disk_is_an_integrity_error(place):
            problems = _problems(place)
        locks = _has_locks(place / "lock")
    except (OSError, ZooError) as error:
        return Check("artifact store", "failure", f"{root}: {error}", ADVICE)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    if problems:
        return Check("artifact store", "failure", f"{root}: {'; '.join(problems)}", ADVICE)
    if not locks:
        found, advice = f"{root} is sound, but has no locks", "a dead run's stage is free after 30 s only"
        return Check("artifact store", "warning", found, advice)
    return Check("artifact store", "ok", f"{root}: fsync, atomic rename, links and locks work")


def _problems(place: Path) -> list[str]:
    """What does not hold, of all that results, checkpoints and leases rely upon."""
    first, second, result = place / "first", place / "second", place / "result"
    for folder in (first, second):
        folder.mkdir()
        (folder / "bytes").write_bytes(bytes(BLOCK))
        write_json(folder / "record.json", {})
        flush_folder(folder)
    first.rename(result)
    found: list[str] = []
    try:
        second.rename(result)
        found.append("a result can be replaced by another one")
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
    try:
        os.link(result / "bytes", place / "link")
    except OSError:
        found.append("files can have no second name (hard links)")
    try:
        os.close(os.open(result / "bytes", os.O_CREAT | os.O_EXCL | os.O_RDWR))
        found.append("two runs can both make a lease (O_EXCL)")
    except FileExistsError:
        pass
    return found


def _has_locks(path: Path) -> bool:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
    return True
