"""Metrics of a training: one JSON object a line, written by the first worker, each step once."""

import json
from contextlib import suppress
from errno import ENOSPC
from math import isfinite
from os import strerror
from pathlib import Path
from time import monotonic

import torch
from torch import Tensor

from trainers.patience import patiently
from trainers.world import World
from zoo.errors import DivergedError, IntegrityError
from zoo.files import full_disk_is_an_integrity_error


class MetricsFile:
    """Rows `{"step": n, ...}` in `path`. Opened after step `after`, by all workers, it forgets the rows of later steps.

    Raises `IntegrityError` where it cannot be opened for ten minutes.
    """

    def __init__(self, path: Path, world: World, after: int) -> None:
        self._path = path if world.rank == 0 else None
        self._pending = b""
        patiently(world, path, lambda: _forget_after(path, after) if self._path else None)

    def write(self, step: int, **values: float) -> None:
        """Append a row. It is on its way to the disk when this returns, or with a later row where that is full."""
        if self._path:
            self._pending += json.dumps({"step": step, **values}).encode() + b"\n"
            with suppress(OSError, IntegrityError):  # `flush` tells, with every checkpoint
                self.flush()

    def flush(self) -> None:
        """Write what could not be written before. Raises `IntegrityError` where the disk is still full."""
        if self._path and self._pending:
            with full_disk_is_an_integrity_error(self._path), self._path.open("ab", buffering=0) as file:
                end = file.tell()
                try:
                    if file.write(self._pending) < len(self._pending):
                        raise OSError(ENOSPC, strerror(ENOSPC))
                except OSError:
                    file.truncate(end)  # no half lines
                    raise
            self._pending = b""


def _forget_after(path: Path, step: int) -> None:
    with full_disk_is_an_integrity_error(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in read_metrics(path) if row["step"] <= step]
        aside = path.with_name(f".{path.name}.tmp")  # a kill in between must not lose what was measured
        aside.write_text("".join(json.dumps(row) + "\n" for row in kept), encoding="utf-8")
        aside.replace(path)


def read_metrics(path: Path) -> list[dict[str, float]]:
    """All whole rows of a metrics file (a killed process may leave half a line); empty where there is none."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("\n")]


def last_value(path: Path, name: str) -> float:
    """The last value of a metric in a metrics file; 0 where it has none."""
    return next((row[name] for row in reversed(read_metrics(path)) if name in row), 0.0)


class Losses:
    """The losses of the steps since the last look; looking costs one exchange between the workers."""

    def __init__(self, world: World, batch: int, after: int) -> None:
        self._world, self._batch, self._after = world, batch, after
        self._values: list[Tensor] = []
        self._norms: list[float] = []
        self._since = monotonic()
        self.rate = 0.0
        """Samples per second, over all workers, between the last two looks."""

    def add(self, loss: Tensor, grad_norm: float) -> None:
        """Note the loss (of this worker's share) and the gradient norm (of all) of one optimizer step."""
        self._values.append(loss)
        self._norms.append(grad_norm)

    def mean(self) -> float:
        """The mean since the last look, over all workers. Raises `DivergedError` naming the first bad step."""
        losses = self._world.mean(torch.stack(self._values)).tolist()
        for step, (loss, norm) in enumerate(zip(losses, self._norms, strict=True), start=self._after + 1):
            refuse_non_finite("the loss", loss, step)
            refuse_non_finite("the gradient norm", norm, step)
        now = monotonic()
        self.rate = len(losses) * self._batch / max(now - self._since, 1e-9)
        self._values, self._norms, self._since, self._after = [], [], now, self._after + len(losses)
        return sum(losses) / len(losses)


def refuse_non_finite(what: str, value: float, step: int) -> None:
    """Raise `DivergedError` for NaN and infinity."""
    if not isfinite(value):
        raise DivergedError(
            f"{what} is {value} at step {step}; the last checkpoint is from before. "
            "Try a smaller train.lr, a longer train.warmup, or train.clip"
        )
