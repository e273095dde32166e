"""What a stage takes, measured where its workers run: core and GPU seconds over all its starts, and the environment.

`effort.json` is in the folder of the unfinished stage. A start that is cut off cannot say when; its last progress does,
by the clock of the file system, on which the file itself was written when it began.
"""

import os
import platform
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from shutil import which
from time import monotonic

from pydantic import BaseModel, ConfigDict

import zoo
from pipelines.artifacts.patience import is_passing, keep_trying
from pipelines.artifacts.store import EFFORT, PROGRESS
from zoo.errors import IntegrityError
from zoo.files import write_json
from zoo.machine import processor
from zoo.provenance import Code, Effort, Environment, Hardware

LIBRARIES = ("torch", "timm", "transformers", "ray", "deepspeed", "safetensors", "numpy")


class _Meter(BaseModel):
    """What is in the file: all starts before, and whether one is running on so many cores and GPUs."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    effort: Effort
    cores: int
    gpus: int
    running: bool

    def after(self, seconds: float) -> Effort:
        """With so many seconds more."""
        cores, gpus = self.effort.core_seconds + self.cores * seconds, self.effort.gpu_seconds + self.gpus * seconds
        return self.effort.model_copy(update={"core_seconds": round(cores, 3), "gpu_seconds": round(gpus, 3)})


@contextmanager
def measured(work: Path, cores: int, gpus: int) -> Iterator[None]:
    """Count the time in the block; on the first worker only. `cores` and `gpus` are those of all workers."""
    path, before = work / EFFORT, read_effort(work)
    starts, core_seconds, gpu_seconds = (
        (before.starts, before.core_seconds, before.gpu_seconds) if before else (0, 0.0, 0.0)
    )
    effort = Effort(environment=environment(), starts=starts + 1, core_seconds=core_seconds, gpu_seconds=gpu_seconds)
    meter, began = _Meter(effort=effort, cores=cores, gpus=gpus, running=True), monotonic()
    keep_trying(lambda: write_json(path, meter.model_dump(mode="json")), is_passing)
    try:
        yield
    finally:
        done = meter.model_copy(update={"effort": meter.after(monotonic() - began), "running": False})
        with suppress(OSError, IntegrityError):  # then it counts up to its last sign of life
            write_json(path, done.model_dump(mode="json"))


def read_effort(work: Path) -> Effort | None:
    """What the workers of a stage have taken so far; None where none has begun."""
    path = work / EFFORT
    if not path.is_file():
        return None
    meter = _Meter.model_validate_json(path.read_bytes())
    if not meter.running:
        return meter.effort
    began = path.stat().st_mtime
    return meter.after(max([0.0, *(sign.stat().st_mtime - began for sign in work.rglob(PROGRESS))]))


@cache
def environment() -> Environment:
    """What this process runs on."""
    found: dict[str, str] = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return Environment(code=_code(), versions=found, hardware=_hardware())


def _code() -> Code:
    root = Path(zoo.__file__).parent.parent
    commit = _git(root, "rev-parse", "HEAD") if (root / ".git").exists() else None
    changed = bool(commit and _git(root, "status", "--porcelain", "--untracked-files=no"))
    return Code(version=version("learngene-zoo"), commit=commit, changed=changed)


def _git(root: Path, *words: str) -> str | None:
    """What git says; None where there is none, or it does not trust this checkout."""
    if (git := which("git")) is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603 - our own words, and no shell
            [git, "-C", str(root), *words],
            capture_output=True,
            text=True,
            check=True,
            timeout=10,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _hardware() -> Hardware:
    import torch

    gpus = tuple(torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count()))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    cores = os.cpu_count() or 1
    return Hardware(machine=platform.machine(), processor=processor(), cores=cores, memory=memory, gpus=gpus)
