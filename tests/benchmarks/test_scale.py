"""The plumbing of the scale model's measurements: what is counted is what is done."""

import os
from pathlib import Path

from benchmarks.scale.__main__ import SERVER_CALLS, capacities
from benchmarks.scale.costs import Cost, file_calls
from benchmarks.scale.operations import of_keys, of_stages
from pipelines.artifacts.store import Store


def test_calls_to_the_file_system_are_counted_and_nothing_else(tmp_path: Path):
    path = tmp_path / "file"

    def work() -> None:
        path.write_text("text", encoding="utf-8")
        os.utime(path)
        path.rename(tmp_path / "other")
        sorted(tmp_path.name)

    assert file_calls(work) == 3
    assert file_calls(lambda: None) == 0


def test_operations_on_stages_leave_only_finished_ones_and_their_calls_count(tmp_path: Path):
    store = Store(tmp_path / "store")
    found = {cost.name: cost for cost in [*of_keys(), *of_stages(store)]}
    assert all(cost.calls > 0 for name, cost in found.items() if "key" not in name)
    assert found["stage: lease to record"].calls > found["lease: claim and release"].calls
    assert {folder.name for folder in store.root.iterdir() if any(folder.rglob("*.json"))} == {"stages", "work"}
    assert not list((store.root / "leases").iterdir())


def test_twice_the_calls_are_half_the_running_stages():
    def running(calls: int) -> float:
        names = (
            "lease: renew",
            "lease: look, while another run has it",
            "progress: write",
            "progress: look",
            "stage: lease to record",
            "model: make a folder",
            "model: zoo instantiate, a process",
            "pull: a node's copy, verified",
        )
        numbers = {each.what: each.number for each in capacities({name: Cost(name, 1, 1, 1, calls) for name in names})}
        assert numbers["models a day and core, one process for all"] == 86_400_000
        return numbers["running stages at once on a file server"]

    assert running(1) == 2 * running(2)
    assert running(1) < SERVER_CALLS
