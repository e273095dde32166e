"""A disk that is full while a checkpoint is written: a clear error, nothing half-written, the last good one kept."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from pico import pico_arch, pico_data

from trainers.config import Execution, Training
from trainers.loop import train
from trainers.objectives import Task
from trainers.parametrization import Plain
from zoo.errors import IntegrityError


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk that has room for one checkpoint of the pico model, not for two."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=400k", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting a small disk is not permitted here")
    yield tmp_path
    subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_full_disk_ends_the_training_and_keeps_the_last_checkpoint(small_disk: Path) -> None:
    module, execution = Plain(pico_arch()), Execution(checkpoint_every=2)
    with pytest.raises(IntegrityError, match="the disk is full"):
        train(module, Task(), pico_data(), Training(steps=8, batch=32), execution, small_disk)
    assert [path.name for path in (small_disk / "checkpoints").iterdir()] == ["step-000000002"]
