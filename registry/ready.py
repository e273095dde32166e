"""Ready models in the registry: children of learngenes, one version each, under names of their own.

The tag `learngene.kind` tells them from learngenes; `learngene.parent` is the digest of the learngene that one started
from, `learngene.parent-ref` what that was called.
"""

import shutil
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from filelock import FileLock
from pydantic import BaseModel, ConfigDict

from registry.entries import KIND, OURS, READY, Entry, Shelf, find_version, is_ready, read
from registry.mirror import touch
from registry.pull import pull_entry
from registry.refs import parse_alias, parse_name
from registry.register import PARAMETERS, put
from registry.server import connect, lock
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.files import atomic_folder, canonical_json, home
from zoo.ready import CARD, Ready, Sha, read_ready, verify_ready
from zoo.ready import READY as DESCRIPTION
from zoo.signatures import require_signed
from zoo.size import Size
from zoo.untrusted import copy_plain

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion


class ReadyEntry(BaseModel):
    """One ready model in the registry. `uri` is its folder, `digest` its content, `parent` the learngene's digest.

    `parent_ref` is what the learngene was called when the model was made; `created` is in UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: str = READY
    name: str
    version: int
    digest: Sha
    uri: str
    family: str
    method: str
    size: Size
    parent: Sha
    parent_ref: str
    aliases: tuple[str, ...]
    parameters: int
    flops: int
    metrics: dict[str, float]
    tags: dict[str, str]
    created: datetime

    @property
    def ref(self) -> str:
        """The reference that always means this version."""
        return f"{self.name}:{self.version}"

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self.model_dump(mode="json")


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
    """All ready models (of `name`), by name and version."""
    with connect() as client:
        shelf = read(client, [parse_name(name)] if name else None)
    return [_entry(shelf, version) for version in shelf.versions if is_ready(version)]


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
    return _entry(shelf, version) if is_ready(version) else shelf.entry(version)


def pull_any(ref: str) -> Path:
    """The folder, on this machine and verified, of the learngene or the ready model that `ref` means."""
    found = find_any(ref)
    return pull_ready(found) if isinstance(found, ReadyEntry) else pull_entry(found)


def pull_ready(entry: ReadyEntry) -> Path:
    """The folder of a ready model, `home()/cache/ready/DIGEST`; copied once, verified at every use.

    Raises:
        NotFoundError: its folder is gone.
        IntegrityError: the model is not what was registered, or `ZOO_TRUSTED_KEYS` is set: ready models carry no
            signatures, one is made of a signed learngene where it is wanted.
    """
    folder = home() / "cache" / "ready" / entry.digest
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{entry.digest}.lock")):
        if not is_whole(folder, entry.digest):
            _fetch(entry, folder)
    require_signed(folder, entry.digest, entry.ref)
    return folder


def copy_ready(source: Path, folder: Path) -> Ready:
    """Copy a ready model, verified; `folder` appears whole or not at all. Errors as in `verify_ready`."""
    ready = read_ready(source)
    with atomic_folder(folder) as copy:
        for name in (*ready.files, DESCRIPTION, CARD):
            with suppress(FileNotFoundError):
                copy_plain(source / name, copy / name, ready.most_bytes)
        try:
            return verify_ready(copy)
        except IntegrityError as error:
            raise IntegrityError(str(error).replace(str(copy), str(source))) from error


def is_whole(folder: Path, digest: str) -> bool:
    """Whether this ready model is in `folder`, undamaged."""
    try:
        return verify_ready(folder).digest == digest
    except (NotFoundError, IntegrityError):
        return False


def _fetch(entry: ReadyEntry, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)  # damaged, or it would not be fetched
    source = Path(url2pathname(urlsplit(entry.uri).path))
    found = read_ready(source).digest
    if found != entry.digest:
        raise IntegrityError(f"{entry.ref}: {source} holds {found[:12]}..., registered was {entry.digest[:12]}...")
    copy_ready(source, folder)


def _entry(shelf: Shelf, version: "ModelVersion") -> ReadyEntry:
    tags, number, aliases = version.tags, int(version.version), shelf.aliases.get(version.name, {})
    ours = {key.removeprefix(OURS): text for key, text in tags.items() if key.startswith(OURS)}
    try:
        return ReadyEntry(
            name=version.name,
            version=number,
            digest=ours["digest"],
            uri=ours["uri"],
            family=ours["family"],
            method=ours["method"],
            size=Size.model_validate_json(ours["size"]),
            parent=ours["parent"],
            parent_ref=ours["parent-ref"],
            aliases=tuple(sorted(alias for alias, target in aliases.items() if target == number)),
            parameters=int(ours["parameters"]),
            flops=int(ours["flops"]),
            metrics=shelf.metrics.get(version.run_id or "", {}),
            tags={key: text for key, text in tags.items() if not key.startswith(OURS)},
            created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        )
    except (KeyError, ValueError) as error:
        raise IntegrityError(
            f"{version.name}:{number}: the {OURS}* tags do not say which ready model it is ({error})"
        ) from error


def _tags(ready: Ready, folder: Path) -> dict[str, str]:
    tags: Mapping[str, str] = {
        "digest": ready.digest,
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
