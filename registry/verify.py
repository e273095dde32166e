"""What holds and what does not: learngenes and ready models checked where they lie, byte by byte, without a copy."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from registry.entries import Entry, entries_of
from registry.ready import ReadyEntry, find_any, ready_entries
from registry.server import connect
from registry.shelf import read
from zoo.errors import IntegrityError, NotFoundError, ZooError
from zoo.manifest import BESIDE, Manifest
from zoo.ready import BESIDE as READY_BESIDE
from zoo.ready import READY, verify_ready
from zoo.signatures import LEARNGENE, READY_MODEL, require_signed, signers, trusted_keys
from zoo.untrusted import card_problem, check_plain

State = Literal["holds", "damaged", "missing", "unsigned", "foreign"]
Progress = Callable[[int, int], None]
Target = Entry | ReadyEntry | Path


class Checked(BaseModel):
    """What a check found: `what` is the reference or the folder, `signers` the trusted keys that signed it.

    `foreign` are model versions that others made, which is nothing wrong. `problem`, where it holds: the card, which no
    digest vouches for, is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    state: State
    folder: str = ""
    digest: str = ""
    signers: tuple[str, ...] = ()
    problem: str = ""

    @property
    def wrong(self) -> bool:
        """Whether somebody should look at it."""
        return self.state not in ("holds", "foreign")

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self.model_dump(mode="json")


def verify_refs(refs: Sequence[str], progress: Progress) -> list[Checked]:
    """Check learngenes and ready models by folder or reference. Raises `NotFoundError` for an unknown reference."""
    return _each([locate_any(ref) for ref in refs], progress)


def locate_any(ref: str) -> Target:
    """The folder, or the version, of a learngene or a ready model. Raises `NotFoundError`."""
    from zoo.api import is_folder

    return Path(ref) if is_ready_folder(Path(ref)) or is_folder(ref) else find_any(ref)


def verify_all(progress: Progress) -> list[Checked]:
    """Check every version of the registry; those that others made are only named."""
    with connect() as client:
        shelf = read(client)
    (entries, foreign), (ready, strange) = entries_of(shelf), ready_entries(shelf)
    checked = _each([*entries, *ready], progress)
    checked += [Checked(what=ref, state="foreign", problem="not a learngene") for ref in foreign]
    return checked + [Checked(what=ref, state="foreign", problem="not a ready model") for ref in strange]


def _each(targets: Sequence[Target], progress: Progress) -> list[Checked]:
    checked = []
    for done, target in enumerate(targets):
        progress(done, len(targets))
        checked.append(_verify(target))
    progress(len(targets), len(targets))
    return checked


def _verify(target: Target) -> Checked:
    what, place = (str(target), str(target)) if isinstance(target, Path) else (target.ref, target.uri)
    try:
        folder = target if isinstance(target, Path) else target.folder
        place = str(folder)
        digest, signed, context = check_any(target, folder)
        check_plain(folder, BESIDE if context == LEARNGENE else READY_BESIDE)  # what a pull would refuse
    except NotFoundError as error:
        return Checked(what=what, state="missing", folder=place, problem=str(error))
    except (ZooError, OSError) as error:  # a folder that cannot be read today is told like the others
        return Checked(what=what, state="damaged", folder=place, problem=str(error))
    whole = Checked(what=what, state="holds", folder=place, digest=digest, problem=card_problem(folder))
    return _signed(whole, folder, signed, context)


def check_any(target: Target, folder: Path) -> tuple[str, str, bytes]:
    """Check what `target` means, in `folder`: its digest, what is signed of it, and as what.

    Raises `NotFoundError`, `IntegrityError`.
    """
    if isinstance(target, ReadyEntry) or (isinstance(target, Path) and is_ready_folder(folder)):
        ready = verify_ready(folder)
        if isinstance(target, ReadyEntry):
            target.check(ready)
        return ready.digest, ready.description, READY_MODEL
    from zoo.learngene import check

    manifest = check(folder)
    if isinstance(target, Entry):
        _compare(target, manifest)
    return manifest.digest, manifest.digest, LEARNGENE


def is_ready_folder(folder: Path) -> bool:
    """Whether there is a ready model in `folder`."""
    return (folder / READY).is_file()


def _compare(entry: Entry, manifest: Manifest) -> None:
    """What people search by must be what is there."""
    if manifest.digest != entry.digest:
        raise IntegrityError(f"the folder holds {manifest.digest[:12]}..., registered was {entry.digest[:12]}...")
    there = {
        "family": manifest.family,
        "method": manifest.method.name,
        "parameters": manifest.parameters,
        "legal": manifest.legal,
        "config": manifest.config,
        "size": manifest.size,
        "parents": manifest.parents,
    }
    for field, value in there.items():
        said = getattr(entry, field)
        if said != value and not (said is None and field in ("config", "size")):
            raise IntegrityError(f"{field}: the registry says {said}, the manifest {value}; register it again")


def _signed(checked: Checked, folder: Path, digest: str, context: bytes) -> Checked:
    keys = trusted_keys()
    if keys is None:
        return checked
    try:
        require_signed(folder, digest, checked.what, context)
        return checked.model_copy(update={"signers": signers(folder, digest, keys, context)})
    except IntegrityError as error:
        return checked.model_copy(update={"state": "unsigned", "problem": str(error)})
