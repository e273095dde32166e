"""What single operations cost here, and what follows for a fleet: the measured part of docs/scale.md.

CPU time is that of one thread, which does not run while others do. Medians. No row has a target.
"""

import argparse
import json
import os
import sys
import tempfile
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.rows import THREADS, conditions
from benchmarks.scale.costs import Cost
from benchmarks.scale.operations import of_keys, of_learngenes, of_stages
from pipelines.artifacts.lease import TTL
from pipelines.artifacts.store import LOOK_EVERY as WAIT_EVERY
from pipelines.artifacts.store import Store
from pipelines.run.runner import LOOK_EVERY

DAY = 86_400
SERVER_CALLS = 10_000
"""A second, of a shared file system: an assumption. What yours can do, its own benchmark says."""
PROGRESS_EVERY = 1.0
"""Seconds between two progress files of a training: an assumption; it writes one every ten optimizer steps."""


@dataclass(frozen=True)
class Capacity:
    """What follows: so many of `what`."""

    what: str
    number: float


def capacities(found: dict[str, Cost]) -> list[Capacity]:
    """What one core and one file server could do in a day, if they did nothing else."""
    running = (
        found["lease: renew"].calls / (TTL / 6)
        + found["progress: look"].calls / LOOK_EVERY
        + found["progress: write"].calls / PROGRESS_EVERY
    )
    waiting = found["lease: look, while another run has it"].calls / WAIT_EVERY
    return [
        Capacity("file calls a second of a running stage", running),
        Capacity("file calls a second of a stage that waits for another run", waiting),
        Capacity("running stages at once on a file server", SERVER_CALLS / running),
        Capacity("stages a day on a file server, without their running", _a_day(found["stage: lease to record"].calls)),
        Capacity("models a day and core, one process for all", DAY * 1e3 / found["model: make a folder"].cpu),
        Capacity("models a day and core, a process each", DAY * 1e3 / found["model: zoo instantiate, a process"].cpu),
        Capacity("pulls a day and core of what the node has", DAY * 1e3 / found["pull: a node's copy, verified"].cpu),
    ]


def _a_day(calls: int) -> float:
    return DAY * SERVER_CALLS / calls


def measure() -> tuple[list[Cost], list[Capacity]]:
    """All of it, in a home of its own and with a registry of its own."""
    before = {name: os.environ.pop(name, None) for name in ("ZOO_HOME", "MLFLOW_TRACKING_URI")}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ZOO_HOME"] = folder
        try:
            store = Store(Path(folder) / "store")
            found = [*of_keys(), *of_stages(store), *of_learngenes(Path(folder))]
        finally:
            del os.environ["ZOO_HOME"]
            os.environ.update({name: value for name, value in before.items() if value is not None})
    return found, capacities({cost.name: cost for cost in found})


def print_tables(found: list[Cost], follows: list[Capacity]) -> None:
    """For people, in Markdown."""
    print(conditions(), "\n\n| operation | CPU ms | wall ms | file calls | times |\n|---|---|---|---|---|")
    for cost in found:
        print(f"| {cost.name} | {cost.cpu:.2f} | {cost.wall:.2f} | {cost.calls or ''} | {cost.times} |")
    print("\n| what follows | |\n|---|---|")
    for capacity in follows:
        number = f"{capacity.number:,.0f}" if capacity.number >= 100 else f"{capacity.number:.2g}"
        print(f"| {capacity.what} | {number} |")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one object and nothing else on stdout")
    as_json = parser.parse_args().json
    torch.set_num_threads(THREADS)
    with redirect_stdout(sys.stderr):  # whatever a library prints is no result
        found, follows = measure()
    if as_json:
        print(json.dumps({"costs": [asdict(each) for each in found], "capacities": [asdict(each) for each in follows]}))
    else:
        print_tables(found, follows)


if __name__ == "__main__":
    main()
