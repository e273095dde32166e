"""The file of a mirror: one row a name, written in one transaction with the stamp up to which it is complete."""

import json
import sqlite3
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from zoo.files import home

FORMAT = 1  # a file of another format is left alone
TABLES = """
CREATE TABLE IF NOT EXISTS names (name TEXT PRIMARY KEY, updated INTEGER NOT NULL, content TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS state (one INTEGER PRIMARY KEY CHECK (one = 1), seen INTEGER NOT NULL, swept REAL NOT NULL);
"""
UNLESS_OLDER = """
INSERT INTO names VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE
SET updated = excluded.updated, content = excluded.content WHERE excluded.updated >= updated
"""


@dataclass(frozen=True)
class Shelved:
    """One name: the stamp of its last change, its aliases, its entries as plain JSON, and what is not ours."""

    updated: int
    aliases: dict[str, int]
    entries: list[dict[str, Any]]
    foreign: list[str]


@dataclass(frozen=True)
class Content:
    """All names, complete up to the stamp `seen`; `swept` is when everything was read."""

    names: dict[str, Shelved] = field(default_factory=dict)
    seen: int = 0
    swept: float = 0.0


@dataclass(frozen=True)
class MirrorFile:
    """Where the mirror of one registry is kept. What cannot be read counts as not there."""

    path: Path

    @classmethod
    def of(cls, uri: str) -> "MirrorFile":
        """The file for a registry, which its address (with credentials) names by digest."""
        return cls(home() / "cache" / "registry" / f"{FORMAT}-{sha256(uri.encode()).hexdigest()[:16]}.db")

    def load(self) -> Content:
        """What is kept; nothing, where there is no file, or a damaged one (which is removed)."""
        if not self.path.is_file():
            return Content()
        try:
            with self._open() as database:
                rows = database.execute("SELECT name, content FROM names ORDER BY name").fetchall()
                state = database.execute("SELECT seen, swept FROM state").fetchone()
            return Content({name: Shelved(**json.loads(text)) for name, text in rows}, *(state or ()))
        except (sqlite3.DatabaseError, ValueError, TypeError):
            self.path.unlink(missing_ok=True)
            return Content()

    def save(self, found: Mapping[str, Shelved], gone: Collection[str], seen: int, swept: float) -> None:
        """Keep what was read. What another process read later is not overwritten."""
        rows = [(name, shelved.updated, json.dumps(asdict(shelved))) for name, shelved in found.items()]
        with self._open() as database:
            database.executemany(UNLESS_OLDER, rows)
            database.executemany("DELETE FROM names WHERE name = ?", [(name,) for name in gone])
            database.execute(
                "INSERT INTO state VALUES (1, ?, ?) ON CONFLICT (one) DO UPDATE "
                "SET seen = max(seen, excluded.seen), swept = max(swept, excluded.swept)",
                (seen, swept),
            )

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=60)) as database, database:
            database.executescript(TABLES)
            yield database
