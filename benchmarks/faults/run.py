"""One run of the recipe on the cluster, with a store and registry names of its own: started, watched, examined."""

import json
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any

import psutil
from safetensors.torch import load_file
from torch import Tensor

from benchmarks.faults.cluster import HEAD, Cluster
from benchmarks.faults.hosts import SHARED, STORE, Host, Process
from benchmarks.faults.services import ROOT
from benchmarks.faults.waiting import until

RECIPE = Path(__file__).with_name("recipe.yaml")
STAGE, STAGES, STEPS = "weit", 3, 300
SECONDS = 420
WORKER = "RayTrainWorker"
"""Part of the command line of a worker of a group."""


@dataclass
class Run:
    """The recipe in `STORE/name`, which registers `name.weit` and `name.front`."""

    cluster: Cluster
    name: str
    began: float = 0.0
    commands: list[Process] = field(default_factory=list)

    @property
    def home(self) -> Path:
        """`ZOO_HOME`, as the hosts see it."""
        return STORE / self.name

    @property
    def store(self) -> Path:
        """The artifact store, as this process sees it."""
        return self.cluster.shared / STORE.name / self.name / "store"

    def start(self, *, host: str = HEAD, workers: int = 2) -> Process:
        """Give the command; the same one again goes on where the last one was."""
        text = RECIPE.read_text(encoding="utf-8").replace("NAME", self.name)
        (self.cluster.shared / f"{self.name}.yaml").write_text(text, encoding="utf-8")
        self.began = self.began or monotonic()
        size = ["--set", f"stages.{STAGE}.resources.workers={workers}"]
        where = ["--address", self.cluster.address]
        command = self.cluster.start_zoo(self.home, "run", SHARED / f"{self.name}.yaml", *where, *size, host=host)
        self.commands.append(command)
        return command

    def end(self) -> None:
        """Kill what still runs of it."""
        for command in self.commands:
            if command.ended() is None:
                command.kill()
                command.wait(SECONDS)

    def step(self) -> int:
        """How far the training is that is disturbed; 0 before it begins."""
        steps = [0]
        for path in self.store.glob("work/**/progress.json"):
            with suppress(FileNotFoundError):  # finished between two looks
                progress = json.loads(path.read_text(encoding="utf-8"))
                steps += [int(progress["step"])] if progress["total"] == STEPS else []
        return max(steps)

    def reach(self, step: int, driver: Process) -> None:
        """Wait until the training is so far."""
        until(lambda: self.step() >= step, f"step {step} of {STAGE}", SECONDS, driver.hopeless)

    def records(self) -> dict[str, dict[str, Any]]:
        """What finished stages wrote, by the names of the stages."""
        found = [json.loads(path.read_text(encoding="utf-8")) for path in self.store.glob("stages/*/record.json")]
        return {record["stage"]: record for record in found}

    def finish(self, *drivers: Process) -> float:
        """Wait for the end of the commands, all of them good; seconds since the first command."""
        for driver in drivers:
            code = driver.wait(SECONDS)
            assert code == 0, f"zoo run ended with {code}: {driver.said()[-3000:]}"
        return monotonic() - self.began

    def workers(self) -> list[tuple[Host, psutil.Process]]:
        """The processes of the group that trains, and where they are."""
        return [(host, process) for host in self.cluster.hosts.values() for process in host.processes(WORKER)]

    def registered(self) -> dict[str, Any]:
        """See `benchmarks.faults.audit`."""
        command = [sys.executable, "-m", "benchmarks.faults.audit", self.name]
        env = self.cluster.user(self.home) | {"PYTHONPATH": str(ROOT)}
        return json.loads(self.cluster.hosts[HEAD].run(command, env))

    def learngenes(self) -> dict[str, Tensor]:
        """All tensors of the results, by stage and name."""
        tensors = {}
        for name, record in self.records().items():
            for path in sorted((self.store / "stages" / record["key"] / "output").glob("*.safetensors")):
                tensors |= {f"{name}/{key}": tensor for key, tensor in load_file(path).items()}
        return tensors

    def curve(self) -> list[dict[str, float]]:
        """The metrics of the training."""
        path = self.store / "stages" / self.records()[STAGE]["key"] / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]

    def left_over(self) -> list[str]:
        """What only an unfinished run may have in its store: work, temporary files, leases."""
        work = [*self.store.glob("work/*"), *self.store.glob("leases/*")]
        temporary = [path for path in self.store.rglob("*") if path.name.startswith(".") or ".tmp" in path.name]
        return sorted(str(path.relative_to(self.store)) for path in {*work, *temporary})
