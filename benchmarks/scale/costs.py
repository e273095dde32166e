"""How one operation is measured: CPU time, wall time, and calls to the file system."""

import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from time import perf_counter, process_time
from types import FrameType
from typing import Any

SECONDS, LEAST, MOST = 1.5, 3, 200
"""How long one operation is repeated, and how often at least and at most."""
FILE_CALLS = {
    *("open", "stat", "lstat", "access", "mkdir", "rmdir", "scandir", "listdir", "link", "rename", "replace"),
    *("unlink", "remove", "utime", "chmod", "fsync", "flock", "statvfs"),
}
"""Those that name a file or force one to the disk: a shared file system answers them one by one."""


@dataclass(frozen=True)
class Cost:
    """One operation: medians of milliseconds, how often it was done, and its calls to the file system."""

    name: str
    cpu: float
    wall: float
    times: int
    calls: int


def measured(name: str, work: Callable[[], object], *, shared: bool = True) -> Cost:
    """The cost of `work`. `shared`: whether it is on the shared file system, so that its calls count."""
    work()  # the first time imports, and makes folders
    calls = file_calls(work) if shared else 0
    spent: list[tuple[float, float]] = []
    end = perf_counter() + SECONDS
    while len(spent) < LEAST or (len(spent) < MOST and perf_counter() < end):
        cpu, wall = process_time(), perf_counter()
        work()
        spent.append((process_time() - cpu, perf_counter() - wall))
    return _cost(name, spent, calls)


def process(name: str, words: Callable[[int], Sequence[object]]) -> Cost:
    """The cost of a call of `zoo` with `words` (of the first, second ... time), imports and all."""
    program = [sys.executable, "-c", "from pipelines.cli import main; main()"]
    spent: list[tuple[float, float]] = []
    for number in range(LEAST):
        cpu, wall = _children(), perf_counter()
        subprocess.run([*program, *map(str, words(number))], check=True, stdout=subprocess.DEVNULL)
        spent.append((_children() - cpu, perf_counter() - wall))
    return _cost(name, spent, 0)


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _cost(name: str, spent: list[tuple[float, float]], calls: int) -> Cost:
    cpu, wall = (1e3 * median(times) for times in zip(*spent, strict=True))
    return Cost(name, cpu, wall, len(spent), calls)


def file_calls(work: Callable[[], object]) -> int:
    """How many calls `work` makes, in this thread."""
    count = 0

    def hear(frame: FrameType, event: str, function: Any) -> None:
        nonlocal count
        module = getattr(function, "__module__", None)
        count += event == "c_call" and module in ("posix", "io", "_io", "fcntl") and function.__name__ in FILE_CALLS

    sys.setprofile(hear)
    try:
        work()
    finally:
        sys.setprofile(None)
    return count
