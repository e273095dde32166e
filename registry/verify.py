"""What holds and what does not: learngenes checked where they lie, byte by byte, without copying them."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict

from registry.entries import Entry, find_entry, read
from registry.server import connect
from zoo.errors import IntegrityError, NotFoundError, ZooError
from zoo.signatures import require_signed, signers, trusted_keys

if TYPE_CHECKING:
    from zoo.manifest import Manifest

State = Literal["holds", "damaged", "missing", "unsigned", "foreign"]
Progress = Callable[[int, int], None]


class Checked(BaseModel):
    """What a check found: `what` is the reference or the folder, `signers` the trusted keys that signed it.

    `foreign` are model versions that others made, which is nothing wrong.
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
    """Check learngenes by folder or reference. Raises `NotFoundError` for an unknown reference."""
    from zoo.api import is_folder

    targets = [(Path(ref) if is_folder(ref) else find_entry(ref)) for ref in refs]
    return _each(targets, progress)


def verify_all(progress: Progress) -> list[Checked]:
    """Check every version of the registry; those that others made are only named."""
    with connect() as client:
        entries, foreign = read(client).entries()
    checked = _each(entries, progress)
    return checked + [Checked(what=ref, state="foreign", problem="not a learngene") for ref in foreign]


def _each(targets: Sequence[Entry | Path], progress: Progress) -> list[Checked]:
    checked = []
    for done, target in enumerate(targets):
        progress(done, len(targets))
        checked.append(_verify(target))
    progress(len(targets), len(targets))
    return checked


def _verify(target: Entry | Path) -> Checked:
    from zoo.learngene import check

    what, place = (target.ref, target.uri) if isinstance(target, Entry) else (str(target), str(target))
    try:
        folder = target.folder if isinstance(target, Entry) else target
        place = str(folder)
        manifest = check(folder)
        if isinstance(target, Entry):
            _compare(target, manifest)
    except NotFoundError as error:
        return Checked(what=what, state="missing", folder=place, problem=str(error))
    except (ZooError, OSError) as error:  # a folder that cannot be read today is told like the others
        return Checked(what=what, state="damaged", folder=place, problem=str(error))
    return _signed(Checked(what=what, state="holds", folder=place, digest=manifest.digest), folder)


def _compare(entry: Entry, manifest: "Manifest") -> None:
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


def _signed(checked: Checked, folder: Path) -> Checked:
    keys = trusted_keys()
    if keys is None:
        return checked
    try:
        require_signed(folder, checked.digest, checked.what)
        return checked.model_copy(update={"signers": signers(folder, checked.digest, keys)})
    except IntegrityError as error:
        return checked.model_copy(update={"state": "unsigned", "problem": str(error)})
