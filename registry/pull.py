"""From a reference to a verified folder on this machine: `home()/cache/learngenes/DIGEST`."""

import shutil
from pathlib import Path

from filelock import FileLock

from registry.entries import Entry, find_entry
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import atomic_folder, home
from zoo.signatures import require_signed
from zoo.untrusted import copy_card, copy_there


def resolve(ref: str) -> Path:
    """What `zoo.load("NAME@ALIAS", ...)` finds through the entry point `learngene_zoo.resolver`."""
    return pull(ref)


def pull(ref: str) -> Path:
    """The folder of the learngene that `ref` means; copied once, verified at every use.

    Raises:
        NotFoundError: no such entry, or its folder is gone.
        IntegrityError: the learngene is not what was registered, or not signed as `ZOO_TRUSTED_KEYS` wants it. Nothing
            of it stays in the cache.
    """
    return pull_entry(find_entry(ref))


def pull_entry(entry: Entry) -> Path:
    """`pull` of an entry that was found already: nothing is asked of the registry."""
    folder = home() / "cache" / "learngenes" / entry.digest
    if not _is_good(folder, entry.digest):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{entry.digest}.lock")):
            if not _is_good(folder, entry.digest):  # another process may have fetched it meanwhile
                shutil.rmtree(folder, ignore_errors=True)  # damaged, or signed since
                fetch(entry.folder, entry.digest, folder, entry.ref)
    require_signed(folder, entry.digest, entry.ref)
    return folder


def fetch(source: Path, digest: str, folder: Path, ref: str) -> None:
    """Copy the learngene `digest` from `source` to `folder`, all of it or nothing; `ref` names it in messages.

    Nothing large is read before the manifest says that it is the right one. Errors as in `pull`.
    """
    from zoo.manifest import verify

    limits = _expected(source, digest, ref)
    with atomic_folder(folder) as copy:
        try:
            copy_there(source, copy, limits)
            copy_card(source, copy)
            found = verify(copy).digest
        except IntegrityError as error:
            raise IntegrityError(f"{ref}: {error}".replace(str(copy), str(source))) from error
        if found != digest:
            raise IntegrityError(f"{ref}: {source} changed while it was copied")


def _expected(source: Path, digest: str, ref: str) -> dict[str, int]:
    """The files of the learngene in `source`, and the most bytes that each may have."""
    from zoo.manifest import BESIDE, MANIFEST, MANIFEST_BYTES, check_files, promised, read_manifest

    try:
        manifest = read_manifest(source)
        if manifest.digest != digest:
            raise IntegrityError(f"{source} holds {manifest.digest[:12]}..., registered was {digest[:12]}...")
        check_files(source, manifest)
        require_signed(source, digest, str(source))
    except NotFoundError:
        raise NotFoundError(f"{ref}: {source} holds no learngene any more; register it from where it is now") from None
    except IntegrityError as error:
        raise IntegrityError(f"{ref}: {error}") from error
    return {MANIFEST: MANIFEST_BYTES} | BESIDE | {name: limit for name, (_, limit) in promised(manifest).items()}


def _is_good(folder: Path, digest: str) -> bool:
    from zoo.manifest import verify

    try:
        require_signed(folder, digest, str(folder))
        return verify(folder).digest == digest
    except (NotFoundError, IntegrityError):
        return False
