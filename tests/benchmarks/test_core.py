"""The plumbing of the core's benchmark, at pico sizes: every row is there and counts what it says."""

from collections.abc import Iterator
from math import prod

import pytest
import torch
from pytest import MonkeyPatch

from benchmarks import core, measure
from benchmarks.core import Target
from benchmarks.measure import time_in_turns
from zoo import Size
from zoo.methods import METHODS


def size(depth: int, width: int) -> Size:
    """Heads of 32 channels."""
    return Size(depth=depth, width=width, heads=width // 32)


IMAGES = {"img_size": 8, "patch_size": 4, "num_classes": 3}
PICO = Target("vit", IMAGES, size(2, 64), (size(2, 32), size(1, 64), size(2, 128)))


@pytest.fixture(autouse=True)
def brief(monkeypatch: MonkeyPatch) -> Iterator[None]:
    """No longer than two rounds."""
    monkeypatch.setattr(measure, "BRIEFLY", 0.0)
    monkeypatch.setattr(measure, "FEW", 2)
    with torch.no_grad():
        yield


def test_every_method_has_a_row_from_a_source_it_serves() -> None:
    rows = list(core.expand(PICO))
    assert {row.name for row in rows} == {f"core.expand.vit-2x64.{name}" for name in METHODS}
    assert all(row.ours > 0 and row.baseline > 0 for row in rows)
    assert {row.name.rpartition(".")[2] for row in rows if row.target == 0.5} == {"kronecker", "mupscaling"}


def test_memory_counts_the_result_itself() -> None:
    """Nothing that makes new weights allocates less than them."""
    rows = {row.name: row for row in core.memory(PICO)}
    weights = 4 * sum(prod(shape) for shape in PICO.arch.shapes().values())
    assert {row.baseline for row in rows.values()} == {weights / 2**20}
    assert rows["core.memory.vit-2x64.front"].ratio >= 1
    assert rows["core.memory.vit-2x64.same.selection"].ratio >= 1


def test_learngenes_are_condensed_saved_and_loaded() -> None:
    rows = [*core.condense(PICO.arch), *core.load(PICO)]
    names = [row.name for row in rows]
    assert names[:2] == [f"core.condense.vit-2x64.{name}" for name in ("front", "bot")]
    assert {name.rpartition(".")[2] for name in names[2:]} == set(core.LOADED)
    assert "core.load.vit-2x64.mupscaling" in names
    assert "core.load.hashed.vit-2x64.selection" in names
    assert all(row.ours > 0 and row.baseline > 0 for row in rows)


def test_works_in_turns_are_compared_within_their_round(monkeypatch: MonkeyPatch) -> None:
    """By a clock that each piece of work advances itself; the first round does not count."""
    now, slow = [0.0], [5.0, 1.0, 2.0]
    monkeypatch.setattr(measure, "process_time", lambda: now[0])

    def takes(seconds: float) -> None:
        now[0] += seconds

    pairs = time_in_turns({"one": lambda: takes(slow.pop(0))}, lambda: takes(2.0), torch.device("cpu"))
    assert (pairs["one"].ours, pairs["one"].baseline, pairs["one"].ratio, pairs["one"].rounds) == (1.5, 2.0, 0.75, 2)
