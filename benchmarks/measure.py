"""How time and memory are measured, on a CPU that others use too, and on a GPU."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from statistics import median, quantiles
from time import perf_counter, process_time
from typing import Any

import torch
from torch.autograd.profiler import profile

Work = Callable[[], object]

WARMUP = 3
ROUNDS = 10
FEW, BRIEFLY = 3, 5.0
SECONDS = 15.0


@dataclass(frozen=True)
class Pair:
    """Two pieces of work timed in turns: medians in seconds, and the median of the ratios within a round."""

    ours: float
    baseline: float
    ratio: float
    spread: tuple[float, float]
    """The 10 % and 90 % quantiles of the ratios."""
    rounds: int


def time_pair(ours: Work, baseline: Work, device: torch.device) -> Pair:
    """Time both in rounds A B B A, so that what slows the machine for a while slows both alike.

    At least `ROUNDS` rounds, and `SECONDS` of them. On a CPU the clock is the CPU time of this process, which does
    not run while others do; on a GPU it is the wall clock after everything queued is done.
    """
    clock = _clock(device)
    for work in (ours, baseline) * WARMUP:
        work()
    rounds: list[tuple[float, float]] = []
    end = perf_counter() + SECONDS
    while len(rounds) < ROUNDS or perf_counter() < end:
        order = (baseline, ours, ours, baseline) if len(rounds) % 2 else (ours, baseline, baseline, ours)
        spent = {ours: 0.0, baseline: 0.0}
        for work in order:
            start = clock()
            work()
            spent[work] += (clock() - start) / 2
        rounds.append((spent[ours], spent[baseline]))
    mine, theirs = zip(*rounds, strict=True)
    return _pair(mine, theirs)


def time_in_turns(works: Mapping[str, Work], baseline: Work, device: torch.device) -> dict[str, Pair]:
    """Time several works beside one baseline that is slow to repeat for each: rounds of baseline, all works, baseline.

    At least `FEW` rounds after one that is not counted; more for `BRIEFLY` seconds, at most `ROUNDS`.
    """
    clock = _clock(device)

    def spent(work: Work) -> float:
        start = clock()
        work()
        return clock() - start

    rounds: list[tuple[float, dict[str, float]]] = []
    end = perf_counter() + BRIEFLY
    while len(rounds) < 1 + FEW or (len(rounds) < 1 + ROUNDS and perf_counter() < end):
        before = spent(baseline)
        times = {name: spent(work) for name, work in works.items()}
        rounds.append(((before + spent(baseline)) / 2, times))
    base, *_ = zip(*rounds[1:], strict=True)
    return {name: _pair([times[name] for _, times in rounds[1:]], list(base)) for name in works}


def peak_bytes(work: Work, device: torch.device) -> int:
    """The most bytes of tensors that are alive at once during `work`, of those that it creates itself.

    On a CPU the profiler reports every block that PyTorch's allocator hands out and takes back, hence also what
    operators use inside; on a GPU the caching allocator keeps the count.
    """
    if device.type == "cuda":
        work()  # libraries allocate their workspaces the first time
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        work()
        return torch.cuda.max_memory_allocated() - before
    profiler = profile(profile_memory=True)
    with profiler:
        work()
    recorded: Any = profiler.kineto_results  # PyTorch's stubs do not know all fields of its events
    events = [event for event in recorded.events() if event.name() == "[memory]"]
    events.sort(key=lambda event: event.start_ns())
    return max(accumulate((event.nbytes() for event in events), initial=0))


def _pair(ours: Sequence[float], baseline: Sequence[float]) -> Pair:
    ratios = [mine / theirs for mine, theirs in zip(ours, baseline, strict=True)]
    tenths = quantiles(ratios, n=10)
    return Pair(median(ours), median(baseline), median(ratios), (tenths[0], tenths[-1]), len(ratios))


def _clock(device: torch.device) -> Callable[[], float]:
    if device.type == "cpu":
        return process_time

    def after_the_queue() -> float:
        torch.cuda.synchronize()
        return perf_counter()

    return after_the_queue
