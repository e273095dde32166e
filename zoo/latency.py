"""How long one forward pass takes here: measured on request, kept in `home()/cache/latency` for each processor."""

import json
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter
from typing import Any

import torch

from zoo.architecture import Architecture
from zoo.files import digest_json, home, write_json
from zoo.machine import processor
from zoo.solve import Budget, Fill, Sizes

SETTLE, RUNS, LEAST_SECONDS = 3, 10, 0.2  # passes before measuring; passes measured, until so long was measured


@dataclass(frozen=True)
class Cpu:
    """What a latency holds for: a processor, and threads of torch; in float32, one sample at a time."""

    name: str
    threads: int

    @classmethod
    def here(cls) -> "Cpu":
        """That of this machine."""
        return cls(processor(), torch.get_num_threads())


def latency(arch: Architecture, cpu: Cpu) -> float:
    """Seconds of one forward pass: the median after a warm-up, measured once for an architecture and a processor."""
    what = {"family": arch.family.name, "config": arch.config.model_dump(mode="json"), "size": arch.size.model_dump()}
    key = {**what, **asdict(cpu), "torch": torch.__version__}
    path = home() / "cache" / "latency" / f"{digest_json(key)}.json"
    if path.is_file():
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    seconds = _measure(arch)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, {**key, "seconds": seconds})
    return seconds


def solve_within(sizes: Sizes, budget: Budget, cpu: Cpu, limit: int) -> list[Fill]:
    """The sizes that fill the other budgets best and are fast enough, with their seconds; empty where none is.

    Latency grows nearly with the counts, so the largest size that is fast enough is found by bisection, and what
    follows it is measured until there are `limit`. Every size that is given was measured.
    """
    assert budget.latency, budget
    fits = sizes.best(budget)
    first, last = 0, len(fits)
    while first < last:
        middle = (first + last) // 2
        fast = _seconds(sizes, fits[middle], cpu) <= budget.latency
        first, last = (first, middle) if fast else (middle + 1, last)
    found: list[Fill] = []
    for fill in fits[first : first + 2 * limit]:
        seconds = _seconds(sizes, fill, cpu)
        if seconds <= budget.latency and len(found) < limit:
            found.append(fill.model_copy(update={"latency": seconds}))
    return found


def _seconds(sizes: Sizes, fill: Fill, cpu: Cpu) -> float:
    return latency(sizes.source.at(fill.size), cpu)


@torch.inference_mode()
def _measure(arch: Architecture) -> float:
    model, inputs = arch.build().eval(), _inputs(arch)
    for _ in range(SETTLE):
        model(*inputs)
    times: list[float] = []
    while len(times) < RUNS or sum(times) < LEAST_SECONDS:
        begin = perf_counter()
        model(*inputs)
        times.append(perf_counter() - begin)
    return median(times)


def _inputs(arch: Architecture) -> list[torch.Tensor]:
    """One sample of what the family's models take: token ids, or an image (with a step and a class to denoise it)."""
    config: Any = arch.config
    if "vocab" in arch.family.data:
        return [torch.zeros(1, config.max_length, dtype=torch.int64)]
    images = torch.zeros(1, config.in_chans, config.img_size, config.img_size)
    classes = torch.zeros(1, dtype=torch.int64)
    return [images, classes, classes] if arch.family.task(config) == "denoising" else [images]
