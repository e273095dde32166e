"""After a store was restored in another place: versions say where their artifacts are now."""

from pathlib import Path

from registry.entries import local_folder
from registry.mirror import touch
from registry.server import connect, lock
from registry.shelf import OURS, versions_of
from zoo.errors import NotFoundError


def move(old: Path, new: Path) -> list[str]:
    """Let all versions whose artifacts were below `old` say that they are below `new`; their references.

    Bytes are not looked at: digests are checked by pulls. Raises `NotFoundError` where `new` lacks an artifact; nothing
    is changed then.
    """
    with connect() as client, lock():
        found = versions_of(client)
        places = {(each.name, str(each.version)): local_folder(each.tags.get(f"{OURS}uri", "")) for each in found}
        there = {
            version: path.relative_to(old) for version, path in places.items() if path and path.is_relative_to(old)
        }
        moved = {version: new.resolve() / path for version, path in there.items()}
        for (name, number), path in moved.items():
            if not path.exists():
                raise NotFoundError(f"{name}:{number}: {path} is not there; nothing was changed")
        for (name, number), path in moved.items():
            client.set_model_version_tag(name, number, f"{OURS}uri", path.as_uri())
        for name in {name for name, _ in moved}:
            touch(client, name)
    return [f"{name}:{number}" for name, number in moved]
