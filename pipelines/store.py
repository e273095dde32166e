"""The artifact store: finished stages by key, work in progress, and the record that makes a stage finished.

stages/<key>/        what a stage made: `output/`, `metrics.jsonl`, and `record.json`, written last
work/<key>/          an unfinished stage: checkpoints, metrics, progress; gone when it is finished
learngenes/<digest>/ learngenes condensed by hand
"""

import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, ValidationError

from zoo.errors import IntegrityError
from zoo.files import atomic_folder, digest_folder, home, write_json

LOOK_EVERY = 0.2
"""Seconds between two looks whether the wait for a lock is over."""
RECORD, OUTPUT, METRICS = "record.json", "output", "metrics.jsonl"


class Record(BaseModel):
    """What a finished stage writes last; where it is, the stage is done."""

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


@dataclass(frozen=True)
class Store:
    """A folder that holds the results of stages by their keys."""

    root: Path

    @classmethod
    def default(cls) -> "Store":
        """The store under `ZOO_HOME`."""
        return cls(home() / "store")

    def record(self, key: str) -> Record | None:
        """The record of a finished stage, or None. Raises `IntegrityError` where it cannot be read."""
        path = self._stage(key) / RECORD
        if not path.is_file():
            return None
        try:
            return Record.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise IntegrityError(
                f"{path}: not a record of a stage; delete its folder to run the stage again"
            ) from error

    def work(self, key: str) -> Path:
        """Where an unfinished stage keeps what it needs to go on."""
        return self.root / "work" / key

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
    def lock(self, key: str, waiting: Callable[[], None], stopped: Callable[[], bool]) -> Iterator[None]:
        """Held while a stage runs, so that two runs of one recipe do not do the same work twice.

        `waiting` is called when another run holds it. Raises `CancelledError` when `stopped()` before it is free.
        """
        path = self.root / "locks" / key
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            waiting()
            _acquire(lock, stopped)
        try:
            yield
        finally:
            lock.release()

    def sweep(self, key: str) -> None:
        """Remove what a killed run left of this stage's result; only under its lock."""
        for left_over in (self.root / "stages").glob(f".{key}.*"):
            shutil.rmtree(left_over, ignore_errors=True)

    def commit(
        self, key: str, stage: str, description: dict[str, Any], scores: dict[str, float], seconds: float
    ) -> None:
        """Turn finished work into a result: output and metrics by one rename, the record after them."""
        work = self.work(key)
        with atomic_folder(self._stage(key)) as folder:
            shutil.copytree(work / OUTPUT, folder / OUTPUT)
            if (work / METRICS).is_file():
                shutil.copy(work / METRICS, folder / METRICS)
            output = digest_folder(folder / OUTPUT)
        record = Record(
            key=key,
            stage=stage,
            output=output,
            scores=scores,
            seconds=round(seconds, 3),
            finished=datetime.now(UTC).isoformat(timespec="seconds"),
            **description,
        )
        write_json(self._stage(key) / RECORD, record.model_dump(mode="json"))
        shutil.rmtree(work)

    def progress(self, key: str) -> dict[str, float]:
        """How far an unfinished stage is (`step`, `total`, `loss`, `samples_per_second`); empty when not begun."""
        try:
            return json.loads((self.work(key) / "progress.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}

    def _stage(self, key: str) -> Path:
        return self.root / "stages" / key


def _acquire(lock: FileLock, stopped: Callable[[], bool]) -> None:
    while not stopped():
        with suppress(Timeout):
            lock.acquire(timeout=LOOK_EVERY)
            return
    raise CancelledError
