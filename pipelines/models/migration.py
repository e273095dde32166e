"""`zoo migrate`: a learngene of an older schema, from a folder or the registry, brought up to date and proposed."""

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo.api import is_folder
from zoo.errors import IntegrityError, NotFoundError
from zoo.files import atomic_folder, check_out, digest_json
from zoo.manifest import read_content, verify
from zoo.migrate import migrate as bring_up_to_date

OLD = ("provenance", "key", "made-by")
"""Tags that are of the old version alone: the digest of a file, the key of a stage."""


@dataclass(frozen=True)
class Old:
    """Where a learngene of an older schema lies, and what a version of the registry says of it."""

    folder: Path
    metrics: dict[str, float] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)


def migrate(ref: str, out: Path, name: str | None) -> dict[str, Any]:
    """The new learngene in `out`; with a `name` also in the store, and registered as the candidate of that name.

    Raises `BadInputError`, `NotFoundError` and `IntegrityError` as `zoo.migrate`, before it works where it can.
    """
    if name is not None:
        from registry.register import check_name

        check_name(name, ready=False)
    check_out(out)
    old = Old(Path(ref)) if is_folder(ref) else _registered(ref)
    manifest = bring_up_to_date(old.folder, out)
    content = {"folder": str(out), "digest": manifest.digest, "parents": manifest.parents}
    return content | ({} if name is None else _register(old, out, manifest.digest, name))


def _registered(ref: str) -> Old:
    """What `ref` means; an older version of this program registered it, so it need not be an entry of today's."""
    from registry.entries import find_version, local_folder
    from registry.register import PARAMETERS
    from registry.shelf import OURS

    shelf, version = find_version(ref)
    folder, digest = local_folder(version.tags.get(f"{OURS}uri", "")), version.tags.get(f"{OURS}digest")
    if folder is None:
        raise IntegrityError(f"{ref}: its tags name no folder that this machine can read")
    if (found := digest_json(read_content(folder))) != digest:
        raise IntegrityError(f"{ref}: {folder} holds {found[:12]}..., registered was another digest")
    metrics = shelf.metrics.get(version.run_id or "", {})
    tags = {key: text for key, text in version.tags.items() if not key.startswith((OURS, "mlflow.")) and key not in OLD}
    return Old(folder, {key: value for key, value in metrics.items() if key != PARAMETERS}, tags)


def _register(old: Old, out: Path, digest: str, name: str) -> dict[str, Any]:
    from registry.entries import CHAMPION
    from registry.history import CANDIDATE
    from registry.promote import set_alias
    from registry.register import register

    entry = register(_keep(out, digest), name, metrics=old.metrics, tags=old.tags | {"made-by": "migrate"})
    if CHAMPION in entry.aliases:  # it was migrated and promoted before
        return {"registered": entry.ref}
    set_alias(name, CANDIDATE, entry.version)
    return {"registered": entry.ref, "next": f"zoo promote {name}@{CANDIDATE}"}


def _keep(out: Path, digest: str) -> Path:
    """A copy in the store: what lies in `out` is the user's, to move or to remove."""
    from pipelines.artifacts.store import Store

    place = Store.default().root / "learngenes" / digest
    try:
        verify(place)
    except (NotFoundError, IntegrityError):
        with atomic_folder(place) as copy:
            shutil.copytree(out, copy, dirs_exist_ok=True)
    return place
