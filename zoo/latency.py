"""How long one forward pass takes here: measured on request, kept in `home()/cache/latency` for each hardware."""

import json
import platform
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch

from zoo.architecture import Architecture
from zoo.errors import BadInputError
from zoo.files import digest_json, home, write_json
from zoo.solve import Budget, Fill, Sizes

SETTLE, RUNS, LEAST_SECONDS = 3, 10, 0.2  # passes before measuring; passes measured, until so long was measured
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class Hardware:
    """What a latency holds for: a device with its name, threads of torch (CPU), batch, and dtype."""

    device: str
    name: str
    threads: int
    batch: int
    dtype: str

    @classmethod
    def here(cls, device: str = "cpu", batch: int = 1, dtype: str = "float32") -> "Hardware":
        """This machine. Raises `BadInputError` for a device or a dtype that it does not have."""
        if dtype not in DTYPES:
            raise BadInputError(f"dtype: {dtype!r} is not legal; legal values: {', '.join(DTYPES)}")
        if device == "cuda" and torch.cuda.is_available():
            return cls(device, torch.cuda.get_device_name(), 0, batch, dtype)
        if device != "cpu":
            raise BadInputError(f"device: {device!r} is not here; legal values: cpu{_cuda()}")
        return cls(device, _processor(), torch.get_num_threads(), batch, dtype)


def latency(arch: Architecture, hardware: Hardware) -> float:
    """Seconds of one forward pass: the median after a warm-up, measured once for an architecture and a hardware."""
    what = {"family": arch.family.name, "config": arch.config.model_dump(mode="json"), "size": arch.size.model_dump()}
    key = {**what, **asdict(hardware), "torch": torch.__version__}
    path = home() / "cache" / "latency" / f"{digest_json(key)}.json"
    if path.is_file():
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    seconds = _measure(arch, hardware)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**key, "seconds": seconds})
    return seconds


def solve_within(sizes: Sizes, budget: Budget, hardware: Hardware, limit: int) -> list[Fill]:
    """The sizes that fill the other budgets best and are fast enough, with their seconds; empty where none is.

    Latency grows nearly with the counts, so the largest size that is fast enough is found by bisection, and what
    follows it is measured until there are `limit`. Every size that is given was measured.
    """
    assert budget.latency, budget
    fits = sizes.best(budget)
    first, last = 0, len(fits)
    while first < last:
        middle = (first + last) // 2
        fast = _seconds(sizes, fits[middle], hardware) <= budget.latency
        first, last = (first, middle) if fast else (middle + 1, last)
    found: list[Fill] = []
    for fill in fits[first : first + 2 * limit]:
        seconds = _seconds(sizes, fill, hardware)
        if seconds <= budget.latency and len(found) < limit:
            found.append(fill.model_copy(update={"latency": seconds}))
    return found


def _seconds(sizes: Sizes, fill: Fill, hardware: Hardware) -> float:
    return latency(sizes.source.at(fill.size), hardware)


@torch.inference_mode()
def _measure(arch: Architecture, hardware: Hardware) -> float:
    model = arch.build().eval().to(hardware.device, DTYPES[hardware.dtype])
    inputs = [
        x.to(hardware.device, DTYPES[hardware.dtype] if x.is_floating_point() else None)
        for x in _inputs(arch, hardware.batch)
    ]
    wait: Callable[[], object] = torch.cuda.synchronize if hardware.device == "cuda" else lambda: None
    for _ in range(SETTLE):
        model(*inputs)
    times: list[float] = []
    while len(times) < RUNS or sum(times) < LEAST_SECONDS:
        wait()
        begin = perf_counter()
        model(*inputs)
        wait()
        times.append(perf_counter() - begin)
    return median(times)


def _inputs(arch: Architecture, batch: int) -> list[torch.Tensor]:
    """A batch of what the family's models take: token ids, or images (with steps and classes to denoise them)."""
    config: Any = arch.config
    if "vocab" in arch.family.data:
        return [torch.zeros(batch, config.max_length, dtype=torch.int64)]
    images = torch.zeros(batch, config.in_chans, config.img_size, config.img_size)
    classes = torch.zeros(batch, dtype=torch.int64)
    return [images, classes, classes] if arch.family.task(config) == "denoising" else [images]


def _processor() -> str:
    """The processor's name, where the system says it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.is_file() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())


def _cuda() -> str:
    return ", cuda" if torch.cuda.is_available() else ""
