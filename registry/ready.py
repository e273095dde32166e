"""Ready models in the registry: children of learngenes, one version each, under names of their own.

The tag `learngene.kind` tells them from learngenes; `learngene.parent` is the digest of the learngene that one started
from, `learngene.parent-ref` what that was called.
"""

import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from filelock import FileLock
from pydantic import Field

from registry.entries import Entry, Pointer, entry_of, find_version, is_signed, say_unsigned, warn_of
from registry.mirror import touch
from registry.pull import pull_entry
from registry.refs import parse_alias, parse_name
from registry.register import PARAMETERS, put
from registry.server import connect, lock
from registry.shelf import KIND, OURS, READY, Shelf, is_ready, of_ours, read
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.files import atomic_folder, canonical_json, home
from zoo.ready import BESIDE, READY_BYTES, Ready, check_ready_files, read_ready, verify_ready
from zoo.ready import READY as DESCRIPTION
from zoo.signatures import READY_MODEL, require_signed, trusted_keys
from zoo.size import Size
from zoo.untrusted import MOST, Sha, copy_card, copy_there

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class ReadyEntry(Pointer):
    """One ready model in the registry: `description` vouches for all that its `ready.json` says, `parent` is a digest.

    `parent_ref` is what the learngene was called when the model was made; `created` is in UTC.
    """

    kind: str = READY
    description: Sha
    family: str
    method: str
    size: Size
    parent: Sha
    parent_ref: str
    aliases: tuple[str, ...]
    parameters: Annotated[int, Field(ge=0, le=MOST)]
    flops: int
    metrics: dict[str, float]
    tags: dict[str, str]
    created: datetime

    def check(self, ready: Ready) -> None:
        """Raise `IntegrityError` unless this is the model, and the description of it, that was registered."""
        pairs = {
            "digest": (ready.digest, self.digest),
            "description": (ready.description, self.description),
            "parameters": (ready.parameters, self.parameters),
            "learngene": (ready.learngene, self.parent),
        }
        for field, (found, registered) in pairs.items():
            if found != registered:
                raise IntegrityError(f"{field} {_short(found)}, registered was {_short(registered)}")


def register_ready(folder: Path, name: str, alias: str | None = None) -> ReadyEntry:
    """Make the ready model in `folder` a version of `name`, and let `alias` mean it; its files stay where they are.

    The same model (by the digest of its files) is one version of a name, however often it is registered.

    Raises:
        NotFoundError: no ready model in `folder`, or no server.
        IntegrityError: a file of it is damaged.
        BadInputError: an illegal name or alias, or a name that learngenes have.
    """
    parse_name(name)
    ready = verify_ready(folder)
    numbers = {**ready.scores, PARAMETERS: float(ready.parameters)}
    with connect() as client:
        with lock():
            version = put(client, name, _tags(ready, folder), numbers)
        if alias:
            client.set_registered_model_alias(name, parse_alias(alias), version.version)
            touch(client, name)
    return find_ready(f"{name}:{version.version}")


def list_ready(name: str | None = None) -> list[ReadyEntry]:
    """All ready models (of `name`), by name and version. Those that others made are skipped with a warning."""
    with connect() as client:
        shelf = read(client, [parse_name(name)] if name else None)
    entries, foreign = ready_entries(shelf)
    warn_of(foreign, "ready models")
    if (keys := trusted_keys()) is not None:
        unsigned = [entry.ref for entry in entries if not is_signed(entry, entry.description, keys, READY_MODEL)]
        say_unsigned(unsigned, "ready models")
    return entries


def ready_entries(shelf: Shelf) -> tuple[list[ReadyEntry], list[str]]:
    """The ready models, and the references of the versions that say that they are some and are not."""
    entries, foreign = [], []
    for version in filter(is_ready, shelf.versions):
        try:
            entries.append(_entry(shelf, version))
        except IntegrityError:
            foreign.append(f"{version.name}:{version.version}")
    return entries, foreign


def find_ready(ref: str) -> ReadyEntry:
    """The ready model that `NAME@ALIAS`, `NAME:VERSION` or `NAME` (the newest) means.

    Raises `NotFoundError` that says what there is, `BadInputError` for a learngene.
    """
    shelf, version = find_version(ref)
    if not is_ready(version):
        raise BadInputError(f"{ref} is a learngene, not a ready model; `zoo instantiate` makes one of it")
    return _entry(shelf, version)


def find_any(ref: str) -> Entry | ReadyEntry:
    """The learngene or the ready model that `ref` means; errors as in `find_entry`."""
    shelf, version = find_version(ref)
    return _entry(shelf, version) if is_ready(version) else entry_of(shelf, version)


def pull_any(ref: str) -> Path:
    """The folder, on this machine and verified, of the learngene or the ready model that `ref` means."""
    found = find_any(ref)
    return pull_ready(found) if isinstance(found, ReadyEntry) else pull_entry(found)


def pull_ready(entry: ReadyEntry) -> Path:
    """The folder of a ready model, `home()/cache/ready/DIGEST`; copied once, verified at every use.

    Raises:
        NotFoundError: its folder is gone.
        IntegrityError: the model is not what was registered, or not signed as `ZOO_TRUSTED_KEYS` wants it. Nothing of
            it stays in the cache.
    """
    folder = home() / "cache" / "ready" / entry.digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{entry.digest}.lock")):
        if not _is_good(entry, folder):
            shutil.rmtree(folder, ignore_errors=True)  # damaged, or signed since
            _fetch(entry, folder)
    require_signed(folder, entry.description, entry.ref, READY_MODEL)
    return folder


def copy_ready(source: Path, folder: Path) -> Ready:
    """Copy a ready model, verified; `folder` appears whole or not at all. Errors as in `verify_ready`."""
    ready = read_ready(source)
    check_ready_files(source, ready)
    with atomic_folder(folder) as copy:
        try:
            copy_there(source, copy, {DESCRIPTION: READY_BYTES} | BESIDE | ready.limits)
            copy_card(source, copy)
            found = verify_ready(copy)
        except IntegrityError as error:
            raise IntegrityError(str(error).replace(str(copy), str(source))) from error
        if found != ready:
            raise IntegrityError(f"{source} changed while it was copied")
    return ready


def is_whole(folder: Path, description: str) -> bool:
    """Whether this ready model is in `folder`, undamaged."""
    try:
        return verify_ready(folder).description == description
    except (NotFoundError, IntegrityError):
        return False


def _is_good(entry: ReadyEntry, folder: Path) -> bool:
    """Whether the model is in `folder`, undamaged, and signed where signatures are asked for."""
    try:
        require_signed(folder, entry.description, entry.ref, READY_MODEL)
    except IntegrityError:
        return False
    return is_whole(folder, entry.description)


def _fetch(entry: ReadyEntry, folder: Path) -> None:
    """Nothing large is read before the description says that it is the right one, and is signed."""
    source = entry.folder
    try:
        entry.check(read_ready(source))
        require_signed(source, entry.description, str(source), READY_MODEL)
        copy_ready(source, folder)
    except NotFoundError:
        gone = f"{source} holds no ready model any more; register it from where it is now"
        raise NotFoundError(f"{entry.ref}: {gone}") from None
    except IntegrityError as error:
        place = "" if str(source) in str(error) else f"{source}: "
        raise type(error)(f"{entry.ref}: {place}{error}") from error


def _short(value: object) -> str:
    """As messages show digests and numbers."""
    return f"{value:,}" if isinstance(value, int) else f"{str(value)[:12]}..."


def _entry(shelf: Shelf, version: "ModelVersion") -> ReadyEntry:
    ours = of_ours(version)
    try:
        return ReadyEntry(
            **shelf.fields(version),
            description=ours["description"],
            size=Size.model_validate_json(ours["size"]),
            parent=ours["parent"],
            parent_ref=ours["parent-ref"],
            flops=int(ours["flops"]),
        )
    except (KeyError, ValueError) as error:
        raise IntegrityError(
            f"{version.name}:{version.version}: the {OURS}* tags do not say which ready model it is ({error})"
        ) from error


def _tags(ready: Ready, folder: Path) -> dict[str, str]:
    tags: Mapping[str, str] = {
        "digest": ready.digest,
        "description": ready.description,
        "uri": folder.resolve().as_uri(),
        "family": ready.family,
        "method": ready.method,
        "size": canonical_json(ready.size.model_dump(mode="json")),
        "parent": ready.learngene,
        "parent-ref": ready.ref,
        "parameters": str(ready.parameters),
        "flops": str(ready.flops),
    }
    return {KIND: READY} | {OURS + key: text for key, text in tags.items()}
