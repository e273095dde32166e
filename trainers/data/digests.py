"""Digests of files that are computed again only where a file changed."""

import json
import time
from pathlib import Path
from typing import Any

from zoo.files import digest_file, digest_json, home, write_json


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
