"""What is in the registry: `Entry`, and how entries are listed and found."""

import logging
from collections.abc import Collection
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from pydantic import BaseModel, ConfigDict, Field

from registry.refs import close_to, known, parse_name, parse_ref
from registry.server import connect, without_credentials
from registry.shelf import OURS, Shelf, is_ready, of_ours, read, versions_of
from zoo.errors import BadInputError, IntegrityError, NotFoundError
from zoo.signatures import LEARNGENE, signers, trusted_keys
from zoo.size import LegalSizes, Size
from zoo.untrusted import MOST, Sha, check_extents, strict_json

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from zoo.signatures import Keys

CHAMPION = "champion"  # what a plain name means, if it is set
_log = logging.getLogger(__name__)


class Pointer(BaseModel):
    """One version in the registry. `uri` is the folder of what it means, and `digest` its content."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    version: int
    digest: Sha
    uri: str

    @property
    def ref(self) -> str:
        """The reference that always means this version."""
        return f"{self.name}:{self.version}"

    @property
    def folder(self) -> Path:
        """Where it lies. Raises `IntegrityError` for an address that is no folder of this machine."""
        if (folder := local_folder(self.uri)) is None:
            raise IntegrityError(f"{self.ref}: {without_credentials(self.uri)} is no folder that this machine can read")
        return folder

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self.model_dump(mode="json")


class Entry(Pointer):
    """A version that is a learngene, with what people search by.

    `parameters` counts the learngene's own; `metrics` holds the newest value of each number (`parameters` among them);
    `parents` are digests; `created` is in UTC. `config` and `size` (the one it was made at) say what counts of models
    follow from; None where an older version registered it.
    """

    family: str
    method: str
    aliases: tuple[str, ...]
    parameters: Annotated[int, Field(ge=0, le=MOST)]
    legal: LegalSizes
    config: dict[str, Any] | None
    size: Size | None
    parents: tuple[str, ...]
    metrics: dict[str, float]
    tags: dict[str, str]
    created: datetime


def local_folder(uri: str) -> Path | None:
    """The folder that an address names; None for one that is no folder of this machine."""
    try:
        address = urlsplit(uri)
    except ValueError:  # half an IPv6 address
        return None
    if address.scheme != "file" or address.netloc not in ("", "localhost"):
        return None
    return Path(url2pathname(address.path))


def list_entries(name: str | None = None) -> list[Entry]:
    """All entries (of `name`), by name and version. Versions that others made are skipped with a warning.

    Raises `NotFoundError` if there is no such name.
    """
    with connect() as client:
        shelf = _known(client, parse_name(name)) if name else read(client)
    entries, foreign = entries_of(shelf)
    warn_of(foreign)
    warn_of_unsigned(entries)
    return entries


def warn_of_unsigned(entries: Collection[Entry]) -> None:
    """Say which entries cannot be used, where `ZOO_TRUSTED_KEYS` asks for signatures."""
    if (keys := trusted_keys()) is not None:
        say_unsigned([e.ref for e in entries if not is_signed(e, e.digest, keys, LEARNGENE)], "learngenes")


def say_unsigned(refs: Collection[str], what: str) -> None:
    """Say which versions will be refused."""
    if refs:
        text = "%d %s are not signed by the keys of ZOO_TRUSTED_KEYS and will be refused: %s"
        _log.warning(text, len(refs), what, known(refs))


def is_signed(pointer: Pointer, digest: str, keys: "Keys", context: bytes) -> bool:
    """Whether one of `keys` signed this digest, where the version lies."""
    try:
        return bool(signers(pointer.folder, digest, keys, context))
    except (IntegrityError, OSError):
        return False


def warn_of(foreign: Collection[str], what: str = "learngenes") -> None:
    """Say which model versions were left out because others made them."""
    if foreign:
        _log.warning("skipped %d model versions that are not %s: %s", len(foreign), what, known(foreign))


def versions(name: str) -> list[Entry]:
    """All entries of `name`; none where the name is not known."""
    try:
        return list_entries(name)
    except NotFoundError:
        return []


def find_entry(ref: str) -> Entry:
    """The entry that `NAME@ALIAS`, `NAME:VERSION` or `NAME` means.

    A plain name means its champion if that alias is set, else its newest version. Raises `NotFoundError` that
    says what there is, `IntegrityError` if the version is none of ours.
    """
    shelf, version = find_version(ref)
    return entry_of(shelf, version)


def find_version(ref: str) -> tuple[Shelf, "ModelVersion"]:
    """The version that `ref` means, whatever it is of; a plain name as in `find_entry`.

    Raises `BadInputError` for an illegal reference, `NotFoundError` that says what there is.
    """
    name, alias, number = parse_ref(ref)
    with connect() as client:
        shelf = _known(client, name)
    aliases = shelf.aliases.get(name, {})
    found = {int(version.version): version for version in shelf.versions}
    if alias is not None:
        if alias not in aliases:
            raise NotFoundError(f"{ref}: {name!r} has no alias {alias!r}; it has {known(aliases)}")
        number = aliases[alias]
    elif number is None:
        number = aliases.get(CHAMPION, max(found))
    if number not in found:
        raise NotFoundError(f"{ref}: {name!r} has no version {number}; it has {known(found)}")
    return shelf, found[number]


def entries_of(shelf: Shelf) -> tuple[list[Entry], list[str]]:
    """The learngenes, and the references of the versions that are neither learngenes nor ready models."""
    entries, foreign = [], []
    for version in shelf.versions:
        if is_ready(version):
            continue
        try:
            entries.append(entry_of(shelf, version))
        except IntegrityError:
            foreign.append(f"{version.name}:{version.version}")
    return entries, foreign


def entry_of(shelf: Shelf, version: "ModelVersion") -> Entry:
    """Raises `IntegrityError` if the version was not registered by us, `BadInputError` for a ready model."""
    ref = f"{version.name}:{version.version}"
    if is_ready(version):
        raise BadInputError(f"{ref} is a ready model, not a learngene; `zoo pull` gives its folder")
    ours = of_ours(version)
    try:
        config, size = (strict_json(ours.get(field, "null")) for field in ("config", "size"))
        check_extents(size, config)
        return Entry(
            **shelf.fields(version),
            legal=LegalSizes.model_validate_json(ours["legal"]),
            config=config,
            size=None if size is None else Size.model_validate(size),
            parents=tuple(strict_json(ours["parents"])),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise IntegrityError(
            f"{ref} is not a learngene: the {OURS}* tags of the model version do not "
            f"say which ({type(error).__name__}: {error})"
        ) from error


def _known(client: "MlflowClient", name: str) -> Shelf:
    shelf = read(client, [name])
    if not shelf.versions:
        where = without_credentials(client.tracking_uri)
        names = {version.name for version in versions_of(client)}
        raise NotFoundError(f"no {name!r} in the registry {where}; {close_to(name, names)}")
    return shelf
