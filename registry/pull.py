"""From a reference to a verified folder on this machine: `home()/cache/learngenes/DIGEST`."""

import shutil
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock

from registry.entries import Entry, find_entry
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import atomic_folder, home


def resolve(ref: str) -> Path:
    """What `zoo.load("NAME@ALIAS", ...)` finds through the entry point `learngene_zoo.resolver`."""
    return pull(ref)


def pull(ref: str) -> Path:
    """The folder of the learngene that `ref` means; copied once, verified at every use.

    Raises:
        NotFoundError: no such entry, or its folder is gone.
        IntegrityError: the learngene is not what was registered. Nothing of it stays in the cache.
    """
    return pull_entry(find_entry(ref))


def pull_entry(entry: Entry) -> Path:
    """`pull` of an entry that was found already: nothing is asked of the registry."""
    folder = home() / "cache" / "learngenes" / entry.digest
    if not _is_whole(folder, entry.digest):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{entry.digest}.lock")):
            if not _is_whole(folder, entry.digest):  # another process may have fetched it meanwhile
                _fetch(entry, folder)
    return folder


def _is_whole(folder: Path, digest: str) -> bool:
    from zoo.manifest import verify

    try:
        return verify(folder).digest == digest
    except (NotFoundError, IntegrityError):
        return False


def _fetch(entry: Entry, folder: Path) -> None:
    from zoo.manifest import CARD, MANIFEST, TENSORS, TOKENIZER, verify
    from zoo.provenance import PROVENANCE

    shutil.rmtree(folder, ignore_errors=True)  # damaged, or it would not be fetched
    source = Path(url2pathname(urlsplit(entry.uri).path))
    if not (source / MANIFEST).is_file():
        raise NotFoundError(f"{entry.ref}: {source} holds no learngene any more; register it from where it is now")
    with atomic_folder(folder) as copy:
        for file in (MANIFEST, TENSORS, TOKENIZER, CARD, PROVENANCE):
            if (source / file).is_file():
                shutil.copyfile(source / file, copy / file)
        try:
            found = verify(copy).digest
        except IntegrityError as error:
            raise IntegrityError(f"{entry.ref}: {error}".replace(str(copy), str(source))) from error
        if found != entry.digest:
            raise IntegrityError(f"{entry.ref}: {source} holds {found[:12]}..., registered was {entry.digest[:12]}...")
