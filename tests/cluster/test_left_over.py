"""What a run must not leave behind is found where it is left."""

from pathlib import Path

import pytest

from benchmarks.faults.cluster import ONE_EACH, Cluster
from benchmarks.faults.hosts import Host
from benchmarks.faults.run import Run
from benchmarks.faults.services import Mlflow, Postgres


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """One whose store is a folder of this test; its cluster was never started."""
    host = Host("registry", "10.77.0.13", 0, 0, tmp_path)
    return Run(Cluster({}, tmp_path, tmp_path, Postgres(host), Mlflow(host), ONE_EACH), "run")


def test_nothing_is_left_in_a_finished_store(run: Run) -> None:
    for name in ("stages/key/output/learngene.safetensors", "stages/key/record.json", "clock"):
        (run.store / name).parent.mkdir(parents=True, exist_ok=True)
        (run.store / name).touch()
    assert run.left_over() == []


@pytest.mark.parametrize("left", ["work/key", "leases/key", "stages/.key.x1", "stages/key/output/.tensors.tmp1"])
def test_what_is_left_is_named(run: Run, left: str) -> None:
    (run.store / left).mkdir(parents=True)
    assert run.left_over() == [left]
