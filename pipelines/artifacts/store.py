"""The artifact store: finished stages by key, work in progress, and the record that makes a stage finished.

stages/<key>/        what a stage made: `output/`, `metrics.jsonl`, `record.json`; it appears whole, by one rename
work/<key>/<token>/  an unfinished stage of the run that holds this lease: checkpoints, metrics, progress
leases/<key>/        who works on it (`pipelines.artifacts.lease`)
learngenes/<digest>/ learngenes condensed by hand
ready/<digest>/      ready models that are registered

Nothing of work and leases is left when a stage is finished.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from pipelines.artifacts.lease import TTL, Holder, Lease, LeaseLostError, claim, look
from pipelines.artifacts.patience import is_passing, keep_trying
from pipelines.artifacts.workspace import CHECKPOINTS, WorkSpaces
from zoo.errors import IntegrityError
from zoo.files import (
    digest_folder,
    flush_folder,
    full_disk_is_an_integrity_error,
    home,
    remove_folder,
    write_json,
)
from zoo.provenance import Effort

LOOK_EVERY = 1.0
"""Seconds between two looks whether the wait for another run is over; each is some calls to a shared file system."""
RECORD, OUTPUT, METRICS, PROGRESS, EFFORT = "record.json", "output", "metrics.jsonl", "progress.json", "effort.json"
STARTED = "started"
"""A file in the folder of a stage whose workers have begun, which may be long after they were asked for."""


class Record(BaseModel):
    """What a finished stage writes last; where it is, the stage is done. Older ones do not know their effort."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: str
    stage: str
    function: str
    config: dict[str, Any]
    inputs: dict[str, str]
    output: str
    scores: dict[str, float]
    seconds: float
    finished: str
    effort: Effort | None = None


@dataclass(frozen=True)
class Store:
    """A folder that holds the results of stages by their keys."""

    root: Path
    ttl: float = TTL
    """Seconds after which the lease of a run that is not heard of is taken over."""

    @classmethod
    def default(cls) -> "Store":
        """The store under `ZOO_HOME`."""
        return cls(home() / "store")

    def record(self, key: str) -> Record | None:
        """The record of a finished stage, or None. Raises `IntegrityError` where it cannot be read.

        Whoever asks uses the stage: the time of the file says when somebody last did.
        """
        path = self._stage(key) / RECORD
        with suppress(OSError):  # not there, or somebody else's
            os.utime(path)
        return self.read(key)

    def read(self, key: str) -> Record | None:
        """The same, for who does not use the stage."""
        path = self._stage(key) / RECORD
        if not path.is_file():
            return None
        try:
            return Record.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise IntegrityError(
                f"{path}: not a record of a stage; delete its folder to run the stage again"
            ) from error

    def output(self, key: str) -> Path:
        """What a finished stage made, unverified."""
        return self._stage(key) / OUTPUT

    def verified(self, key: str) -> Path:
        """What a finished stage made. Raises `IntegrityError` if a byte of it has changed."""
        record, folder = self.record(key), self.output(key)
        assert record is not None, key
        if digest_folder(folder) != record.output:
            raise IntegrityError(
                f"{folder}: the bytes are not those of record {key[:12]}; delete {self._stage(key)} to make them again"
            )
        return folder

    @contextmanager
    def lease(
        self, key: str, waiting: Callable[[Holder | None], None], stopped: Callable[[], bool]
    ) -> Iterator["Workplace | None"]:
        """Wait until this run may work on a stage, and let others have it afterwards; None where it is finished.

        `waiting` is called again and again while another run works on it. Raises `CancelledError` when `stopped()`
        before it is free, `LeaseLostError` when another run took over and is not finished either.
        """
        place = self._wait(key, waiting, stopped)
        if place is None:
            yield None
            return
        try:
            yield place
        except Exception:
            if self.record(key) is None:  # else another run took over and finished it: that is as good
                place.lease.check()
                raise
        finally:
            self._leave(key, place)

    def _wait(
        self, key: str, waiting: Callable[[Holder | None], None], stopped: Callable[[], bool]
    ) -> "Workplace | None":
        spaces = WorkSpaces(self.root / "work" / key)
        while self.record(key) is None:
            if stopped():
                raise CancelledError
            lease = keep_trying(lambda: claim(self.root, key, spaces.used(), self.ttl), is_passing)
            if lease is None:
                held = keep_trying(lambda: look(self.root, key), is_passing)
                if held:
                    waiting(held.holder)
                    sleep(LOOK_EVERY)
                continue
            try:
                if place := keep_trying(lambda lease=lease: self._open(key, lease), is_passing):
                    return place
            except BaseException:
                lease.release()
                raise
            lease.release()
        self._sweep(key)
        return None

    def _open(self, key: str, lease: Lease) -> "Workplace | None":
        """Null where the stage is finished, or another run has taken over since."""
        if self._stage(key).exists() and self.record(key) is None:  # in this order: they appear together
            remove_folder(self._stage(key))  # somebody took its record away
        folder = None if self.record(key) else WorkSpaces(self.root / "work" / key).open(lease.token)
        return Workplace(lease, folder) if folder else None

    def _leave(self, key: str, place: "Workplace") -> None:
        if place.lease.lost():
            remove_folder(place.work)
        place.lease.release()
        if self.record(key):
            self._sweep(key)

    def commit(
        self,
        place: "Workplace",
        stage: str,
        description: dict[str, Any],
        scores: dict[str, float],
        seconds: float,
        effort: Effort | None = None,
    ) -> None:
        """Turn finished work into a result by one rename, which only the first of all runs can do.

        Raises `LeaseLostError` where another run has taken over, or was faster.
        """
        place.lease.check()
        key, result = place.key, place.work / "result"
        with full_disk_is_an_integrity_error(result):
            result.mkdir(exist_ok=True)  # it may be there from an attempt that found the disk full
            if not (result / OUTPUT).exists():
                (place.work / OUTPUT).rename(result / OUTPUT)
            if (place.work / METRICS).is_file():
                shutil.copy(place.work / METRICS, result / METRICS)
            record = Record(
                key=key,
                stage=stage,
                output=digest_folder(result / OUTPUT),
                scores=scores,
                seconds=round(seconds, 3),
                finished=datetime.now(UTC).isoformat(timespec="seconds"),
                effort=effort,
                **description,
            )
            write_json(result / RECORD, record.model_dump(mode="json"))
            flush_folder(result)
            self._stage(key).parent.mkdir(exist_ok=True)
        place.lease.check()
        try:
            result.rename(self._stage(key))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            raise LeaseLostError(f"another run finished {stage} first") from error

    def holder(self, key: str) -> Holder | None:
        """Who works on a stage now, in this run or another."""
        held = look(self.root, key)
        return held.holder if held else None

    def progress(self, key: str) -> dict[str, float]:
        """How far an unfinished stage is (`step`, `total`, `loss`, `samples_per_second`); empty when not begun."""
        for folder in WorkSpaces(self.root / "work" / key).newest_first():
            try:
                return json.loads((folder / PROGRESS).read_text(encoding="utf-8"))
            except OSError:  # not begun, or the store is away: whoever looks will look again
                continue
        return {}

    def _sweep(self, key: str) -> None:
        """Remove what is left of the work on a finished stage, also by runs that were cut off meanwhile."""
        shutil.rmtree(self.root / "work" / key, ignore_errors=True)

    def _stage(self, key: str) -> Path:
        return self.root / "stages" / key


@dataclass(frozen=True)
class Workplace:
    """The right to work on a stage, and the folder to do it in."""

    lease: Lease
    work: Path

    @property
    def key(self) -> str:
        """Of the stage."""
        return self.work.parent.name

    def checkpoints(self) -> list[str]:
        """What an attempt that is cut off leaves to the next one; more of it is progress."""
        return sorted(path.name for path in self.work.glob(f"**/{CHECKPOINTS}"))
