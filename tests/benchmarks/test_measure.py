"""The measuring itself: known peaks of memory, known ratios of time, and a small step from end to end."""

import torch
from pytest import MonkeyPatch

from benchmarks import constrained_step, measure
from benchmarks.measure import peak_bytes, time_pair
from zoo import Size

CPU = torch.device("cpu")
NUMBERS = 2**18
BYTES = 4 * NUMBERS


def test_peak_counts_tensors_that_are_alive_together() -> None:
    """Two live tensors are twice one; a third that comes after the first is gone adds nothing."""

    def work() -> None:
        x = torch.empty(NUMBERS)
        y = x * 2
        del x
        torch.neg(y)

    assert BYTES * 2 <= peak_bytes(work, CPU) < BYTES * 2 + 1024


def test_peak_counts_what_backward_keeps_and_an_optimizer_adds() -> None:
    """A parameter, its gradient and AdamW's two moments: four of a size."""

    def work() -> None:
        p = torch.zeros(NUMBERS, requires_grad=True)
        optimizer = torch.optim.AdamW([p], fused=True)
        p.backward(torch.ones(NUMBERS))
        optimizer.step()

    assert BYTES * 4 <= peak_bytes(work, CPU) < BYTES * 4 + 1024


def test_peak_leaves_out_what_was_there_before() -> None:
    """Freeing an older tensor neither counts nor makes room."""
    older = [torch.empty(4 * NUMBERS)]

    def work() -> None:
        older.clear()
        torch.empty(NUMBERS)

    assert BYTES <= peak_bytes(work, CPU) < BYTES + 1024


def test_times_are_cpu_time_of_the_work_itself(monkeypatch: MonkeyPatch) -> None:
    """By a clock that each piece of work advances itself, the ratio is exact in either order of a round."""
    now = [0.0]
    monkeypatch.setattr(measure, "process_time", lambda: now[0])
    monkeypatch.setattr(measure, "SECONDS", 0.0)

    def takes(seconds: float) -> None:
        now[0] += seconds

    pair = time_pair(lambda: takes(3.0), lambda: takes(2.0), CPU)
    assert (pair.ours, pair.baseline, pair.ratio, pair.spread) == (3.0, 2.0, 1.5, (1.5, 1.5))
    assert pair.rounds == measure.ROUNDS


def test_the_constrained_step_trains_what_it_measures(monkeypatch: MonkeyPatch) -> None:
    """The rows of a small model: all steps ran, and templates need less memory than the matrices they compose."""
    monkeypatch.setattr(measure, "SECONDS", 0.0)
    monkeypatch.setattr(constrained_step, "BATCH", 1)
    monkeypatch.setattr(constrained_step, "CASES", (constrained_step.Case(Size(depth=2, width=64, heads=2), "fp32"),))
    memory, *times = rows = constrained_step.measure()
    assert [row.name.split(".")[1] for row in rows] == ["memory", "time", "refining"]
    assert memory.name == "constrained_step.memory.vit-2x64.fp32"
    assert 0 < memory.ours < memory.baseline
    assert all(row.ours > 0 and row.baseline > 0 for row in times)
