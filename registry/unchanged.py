"""Answers that are right without a question, for nobody wrote to the registry since (decision 0062).

Only an SQLite file can tell. A server is asked every time.
"""

from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from registry.entries import Entry, find_entry
from registry.server import SQLITE, tracking_uri
from zoo.errors import ZooError
from zoo.files import digest_json, home, write_json


class _Kept(BaseModel):
    """Answers by question, and the state of the file in which all of them are right."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    state: str
    answers: dict[str, list[Entry]]


def state_of(uri: str) -> str | None:
    """Another text after every write to an SQLite file; None for a server, and in write-ahead mode.

    SQLite counts transactions in the header of its file. A backup that is restored counts from an older number on: it
    is told by the file's time.
    """
    if not uri.startswith(SQLITE):
        return None
    path = Path(uri.removeprefix(SQLITE))
    try:
        with path.open("rb") as file:
            header, found = file.read(28), path.stat()
    except FileNotFoundError:
        return None
    rollback_journal = header[18:20] == b"\x01\x01"
    return f"{header[24:28].hex()}-{found.st_ino}-{found.st_mtime_ns}" if rollback_journal else None


def recall(question: object) -> list[Entry] | None:
    """The answer that was kept for a question (plain values), if it is still right; as in `keep`."""
    kept, state = _read(), state_of(tracking_uri())
    return kept.answers.get(digest_json(question)) if kept and kept.state == state else None


def keep(question: object, answer: Sequence[Entry]) -> None:
    """Keep an answer while the registry stands still, if it is what its references mean and nobody writes meanwhile."""
    state = state_of(tracking_uri())
    if state is None:
        return
    with suppress(OSError, ZooError):  # deleted meanwhile, or no room: then the next question is asked
        if [find_entry(entry.ref) for entry in answer] != list(answer) or state_of(tracking_uri()) != state:
            return
        kept = _read()
        others = kept.answers if kept and kept.state == state else {}
        new = _Kept(state=state, answers=others | {digest_json(question): list(answer)})
        _path().parent.mkdir(parents=True, exist_ok=True)
        write_json(_path(), new.model_dump(mode="json"))


def _read() -> _Kept | None:
    """What is kept; what cannot be read counts as not there."""
    try:
        return _Kept.model_validate_json(_path().read_bytes())
    except (FileNotFoundError, ValidationError):
        return None


def _path() -> Path:
    return home() / "cache" / "registry" / f"unchanged-{sha256(tracking_uri().encode()).hexdigest()[:16]}.json"
