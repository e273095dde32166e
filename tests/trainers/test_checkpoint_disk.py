"""A disk that is full while a training writes: it waits, and then ends clearly; the last good checkpoint is kept."""

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from pico import pico_arch, pico_data

from trainers import patience
from trainers.checkpoints import Checkpoint
from trainers.config import Execution, Training
from trainers.loop import Progress, train
from trainers.metrics import MetricsFile, read_metrics
from trainers.objectives import Task
from trainers.parametrization import Plain
from trainers.world import World
from zoo.errors import IntegrityError

SETTINGS = Training(steps=8, batch=32, evaluate_every=1)


@pytest.fixture
def small_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A disk that has room for one checkpoint of the pico model, not for two; nobody waits long for it."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    monkeypatch.setattr(patience, "DELAYS", (0.01, 0.01))
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def fill(disk: Path) -> None:
    """Take every byte that is left."""
    with (disk / "filler").open("wb", buffering=0) as file, suppress(OSError):
        while file.write(b"x" * 4096):
            pass


def test_a_disk_that_stays_full_ends_the_training_and_keeps_the_last_checkpoint(small_disk: Path) -> None:
    module, execution = Plain(pico_arch()), Execution(checkpoint_every=2)
    with pytest.raises(IntegrityError, match=r"step-000000004: the disk is full"):
        train(module, Task(), pico_data(), SETTINGS, execution, small_disk)
    assert [path.name for path in (small_disk / "checkpoints").iterdir()] == ["step-000000002"]


def test_a_disk_that_is_full_for_a_while_is_waited_for(
    small_disk: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, waited, waits = Plain(pico_arch(), seed=1), Plain(pico_arch(), seed=1), []
    undisturbed, execution = tmp_path_factory.mktemp("undisturbed"), Execution(checkpoint_every=8)
    train(whole, Task(), pico_data(), SETTINGS, execution, undisturbed)

    def fill_up(_: Progress) -> None:
        fill(small_disk)

    def clear_up(seconds: float) -> None:
        waits.append(seconds)
        (small_disk / "filler").unlink()

    monkeypatch.setattr(patience, "sleep", clear_up)
    train(waited, Task(), pico_data(), SETTINGS, execution, small_disk, fill_up)
    assert waits == [0.01]
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), waited.parameters(), strict=True))
    assert read_metrics(small_disk / "metrics.jsonl") == read_metrics(undisturbed / "metrics.jsonl")


def test_metrics_of_the_time_without_room_are_written_later_and_none_is_cut(small_disk: Path) -> None:
    path, rows = small_disk / "metrics.jsonl", range(500)
    metrics = MetricsFile(path, World(0, 1, torch.device("cpu")), after=-1)
    metrics.write(0, loss=0.5)
    fill(small_disk)
    for step in rows[1:]:
        metrics.write(step, loss=0.5)
    with pytest.raises(IntegrityError, match=r"metrics\.jsonl: the disk is full"):
        metrics.flush()
    assert len(read_metrics(path)) < len(rows)
    assert path.read_text().endswith("\n")
    (small_disk / "filler").unlink()
    metrics.flush()
    assert read_metrics(path) == [{"step": step, "loss": 0.5} for step in rows]


def test_a_training_that_goes_on_while_the_disk_is_full_waits(
    small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, world = small_disk / "metrics.jsonl", World(0, 1, torch.device("cpu"))
    rows = [{"step": step, "loss": 0.5} for step in range(2000)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    fill(small_disk)
    waits: list[float] = []

    def clear_up(seconds: float) -> None:
        waits.append(seconds)
        (small_disk / "filler").unlink()

    monkeypatch.setattr(patience, "sleep", clear_up)
    MetricsFile(path, world, after=1899)
    assert waits == [0.01]
    assert read_metrics(path) == rows[:1900]


def test_a_checkpoint_that_lacks_a_tensor_is_refused_whole() -> None:
    model = torch.nn.Linear(2, 2)
    before = model.weight.clone()
    with pytest.raises(IntegrityError, match=r"step 8 holds no weight"):
        Checkpoint(8, {}).restore(model)
    assert torch.equal(model.weight, before)
