"""What a run says to programs: one JSON line for every change. The log of a job holds them, `zoo status` reads them.

{"event": "stage", "name": ..., "state": ..., "step": ...}    how a stage is
{"event": "end", "state": "done" | "failed" | "cancelled", "exit_code": ..., "error": ..., "entries": [...]}
{"event": "text", "text": ...}                               any other line, in `zoo logs --json`
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from signal import SIGTERM, getsignal, signal
from threading import Event, Lock, Thread
from typing import Any, NoReturn

from pipelines.run.status import OnChange, StageStatus
from zoo.errors import ZooError

TELL_EVERY = 5.0
"""Seconds between two lines about the progress of a stage."""
_BEGIN = '{"event": '


@dataclass
class Told:
    """What the lines of a run come to."""

    stages: dict[str, StageStatus] = field(default_factory=dict)
    end: dict[str, Any] | None = None

    def hear(self, line: str) -> bool:
        """Take a line in; False if it is none of ours."""
        if not line.startswith(_BEGIN):
            return False
        try:
            content = json.loads(line)
            if content.pop("event") == "end":
                self.end = content
            else:
                row = StageStatus(**content)
                self.stages[row.name] = row
        except (ValueError, TypeError):  # half a line, whose writer was killed; or somebody else's event
            return False
        return True

    @classmethod
    def of(cls, lines: Iterable[str]) -> "Told":
        """All of a log."""
        told = cls()
        for line in lines:
            told.hear(line)
        return told


def readable(line: str) -> str:
    """A line for people; one that is no event is left as it is."""
    told = Told()
    if not told.hear(line):
        return line
    if told.end:
        return f"{told.end['state']} {told.end['error']}".rstrip()
    (row,) = told.stages.values()
    step = f" {row.step}/{row.total}" if row.total else ""
    scores = "".join(f" {name} {value:.4g}" for name, value in row.scores.items())
    return f"{row.name}: {row.state}{step}{f' on {row.holder}' if row.holder else ''}{scores}"


def as_event(line: str) -> str:
    """A line for programs, always a JSON object; one that is no event becomes one: {"event": "text", "text": ...}."""
    return line if Told().hear(line) else _line("text", {"text": line})


@contextmanager
def told_stages(rows: Sequence[StageStatus]) -> Iterator[OnChange]:
    """Print every change of the rows, and their progress now and then."""
    before: dict[str, str] = {}
    lock, stop = Lock(), Event()

    def tell(_: StageStatus | None = None) -> None:
        with lock:
            for row in rows:
                line = _line("stage", row.__dict__)
                if before.get(row.name) != line:
                    before[row.name] = line
                    print(line, flush=True)

    def tell_on() -> None:
        while not stop.wait(TELL_EVERY):
            tell()

    tell()
    thread = Thread(target=tell_on, daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        stop.set()
        thread.join()
        tell()


@contextmanager
def told_end() -> Iterator[dict[str, Any]]:
    """Print how the block ended, with what it puts into the dictionary; SIGTERM ends it like Ctrl-C."""
    content: dict[str, Any] = {}
    before = getsignal(SIGTERM)
    signal(SIGTERM, _interrupt)
    try:
        yield content
    except ZooError as error:
        _tell_end(state="failed", exit_code=error.exit_code, error=str(error))
        raise
    except Exception as error:
        _tell_end(state="failed", exit_code=1, error=f"{type(error).__name__}: {error}")
        raise
    except BaseException:
        _tell_end(state="cancelled", exit_code=130, error="")
        raise
    finally:
        signal(SIGTERM, before)
    _tell_end(state="done", exit_code=0, error="", **content)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _tell_end(**content: Any) -> None:
    print(_line("end", content), flush=True)


def _line(event: str, content: dict[str, Any]) -> str:
    return json.dumps({"event": event, **content}, default=str)
