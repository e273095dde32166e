"""The files that a recipe names: which ones they are, and the digests of their contents."""

import fnmatch
import json
import time
from pathlib import Path
from typing import Any

from trainers.data.config import Part, Text, WebDataset
from zoo.errors import BadInputError, NotFoundError
from zoo.files import digest_file, digest_json, home, write_json

SHARD_ENDINGS = (".tar", ".tar.gz", ".tgz")


def find_shards(spec: WebDataset, part: Part) -> list[Path]:
    """The shards of a part in the order of their names."""
    found = _matching(spec, part, "shard")
    for path in found:
        if not path.name.endswith(SHARD_ENDINGS):
            raise BadInputError(
                f"data.{part}: {getattr(spec, part)!r} matches {path.name} in {path.parent}, which is not a shard; "
                f"legal endings: {', '.join(SHARD_ENDINGS)}"
            )
    return found


def find_texts(spec: Text, part: Part) -> list[Path]:
    """The text files of a part in the order of their names; a single file holds both parts."""
    return [_absolute(spec.path)] if is_one_file(spec) else _matching(spec, part, "file")


def is_one_file(spec: Text) -> bool:
    """Whether both parts lie in one file."""
    return _absolute(spec.path).is_file()


def refuse_shared(spec: Text | WebDataset, train: dict[str, str], test: dict[str, str]) -> None:
    """Raise `BadInputError` if a file is in both parts, by content. The digests are those of `digests`."""
    known = {digest: name for name, digest in train.items()}
    for name, digest in test.items():
        if digest in known:
            raise BadInputError(
                f"data.test: {name} is also training data ({known[digest]}): "
                f"the patterns {spec.train!r} and {spec.test!r} must not share samples"
            )


def digests(files: list[Path]) -> dict[str, str]:
    """The SHA-256 of every file of one folder by its name, from the cache where the file did not change."""
    cache = home() / "cache" / "digests" / f"{digest_json([str(path) for path in files])}.json"
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.exists() else {}
    fresh: dict[str, Any] = {}
    found: dict[str, str] = {}
    for path in files:
        stat = path.stat()
        state = [stat.st_size, stat.st_mtime_ns]
        old = known.get(path.name, {})
        digest = found[path.name] = old["digest"] if old.get("state") == state else digest_file(path)
        if time.time_ns() - stat.st_mtime_ns > 2_000_000_000:  # within one tick a file may change unseen
            fresh[path.name] = {"state": state, "digest": digest}
    if fresh != known:
        cache.parent.mkdir(parents=True, exist_ok=True)
        write_json(cache, fresh)
    return found


def _absolute(path: str) -> Path:
    return Path(path).expanduser().absolute()


def _matching(spec: Text | WebDataset, part: Part, what: str) -> list[Path]:
    folder, pattern = _absolute(spec.path), getattr(spec, part)
    if not folder.is_dir():
        raise NotFoundError(f"data.path: {spec.path!r}: there is no folder {folder}")
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    found = [folder / name for name in names if fnmatch.fnmatchcase(name, pattern)]
    if not found:
        listing = ", ".join(names[:8]) + (" ..." if len(names) > 8 else "")
        raise BadInputError(f"data.{part}: no {what} in {folder} matches {pattern!r}; there is: {listing or 'nothing'}")
    return found
