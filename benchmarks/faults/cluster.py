"""A Ray cluster on several hosts, with a token, and a registry on a host of its own: what a platform team installs."""

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from benchmarks.faults.hosts import LOCAL, SHARED, STORE, Host, Process, network
from benchmarks.faults.hosts import why_not as no_hosts
from benchmarks.faults.services import Mlflow, Postgres
from benchmarks.faults.services import why_not as no_registry
from benchmarks.faults.waiting import until

HEAD, WORKERS, REGISTRY = "head", ("one", "two"), "registry"
ONE_EACH = dict.fromkeys((HEAD, *WORKERS), 1)
"""CPUs of the nodes: with one on each, two workers are on two hosts."""
PORT = 6379
SECONDS = 400
BIN = Path(sys.executable).parent

_TOKEN = SHARED / "token"
_RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN_PATH": str(_TOKEN),
    "RAY_TMPDIR": str(LOCAL),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_memory_monitor_refresh_ms": "0",  # it would count what others do on this machine
    # A lost host is noticed in about 8 s and a lost head in 15 s; Ray's own settings make that 30 s and 60 s.
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "3000",
    "RAY_health_check_failure_threshold": "3",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "15",
    "OMP_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
}
_LIVING = """
import sys
from ray._raylet import GcsClient
from ray.core.generated.gcs_pb2 import GcsNodeInfo
nodes = GcsClient(address=sys.argv[1]).get_all_node_info(timeout=10).values()
sys.exit(sum(node.state == GcsNodeInfo.ALIVE for node in nodes) != int(sys.argv[2]))
"""
_BUILD = "from trainers.deepspeed_ops import build_ops; build_ops()"
"""Once, before anything is timed: it takes a minute."""


@dataclass
class Cluster:
    """Hosts that share a folder: one with Ray's head, workers, and one with the registry."""

    hosts: dict[str, Host]
    shared: Path
    """`SHARED`, as this process sees it."""
    extensions: Path
    postgres: Postgres
    mlflow: Mlflow
    cpus: Mapping[str, int]
    nodes: dict[str, Process] = field(default_factory=dict)
    drivers: int = 0

    @property
    def address(self) -> str:
        """Of Ray."""
        return f"{self.hosts[HEAD].address}:{PORT}"

    @cached_property
    def env(self) -> dict[str, str]:
        """The variables of every process of Ray."""
        return {**_RAY, "TORCH_EXTENSIONS_DIR": str(self.extensions), "PATH": f"{BIN}:{os.environ['PATH']}"}

    def start(self, name: str) -> None:
        """Start Ray on a host, without waiting for it."""
        host = self.hosts[name]
        place = ["--head", f"--port={PORT}"] if name == HEAD else [f"--address={self.address}"]
        shown = ["--include-dashboard=true", f"--dashboard-host={host.address}"] if name == HEAD else []
        size = [f"--num-cpus={self.cpus[name]}", "--object-store-memory=100000000"]
        command = [BIN / "ray", "start", "--block", f"--node-ip-address={host.address}", *place, *shown, *size]
        self.nodes[name] = host.start(command, self.env, "ray")

    def heal(self) -> None:
        """Every host is reachable and has a living node, the registry answers, whatever was done to them.

        A node that was given up, or has lost its head, ends by itself; it is started again, as Kubernetes would.
        """
        self.postgres.heal()
        self.mlflow.heal()
        for name in self.nodes:
            self.hosts[name].join()
        until(self._is_whole, "a living node on every host", SECONDS)

    def _is_whole(self) -> bool:
        for name, node in list(self.nodes.items()):
            if node.ended() is not None:
                self.kill_ray(name)
                self.start(name)
        count = [sys.executable, "-c", _LIVING, self.address]
        return self.hosts[HEAD].succeeds([*count, str(len(self.nodes))], self.env)

    def kill_ray(self, name: str) -> None:
        """Everything of Ray on a host is gone at once, and whoever runs on it: the host itself stays."""
        self.hosts[name].kill_all()

    def fill_store(self) -> None:
        """Leave no byte for anybody else on the disk of the stores."""
        with suppress(OSError), self._ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def empty_store(self) -> None:
        """Take that back."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.shared / STORE.name / "ballast"

    def zoo(self, home: Path, *arguments: str | Path) -> str:
        """What a call of `zoo` on the head prints."""
        return self.hosts[HEAD].run([BIN / "zoo", *arguments], self.user(home))

    def start_zoo(self, home: Path, *arguments: str | Path, host: str = HEAD) -> Process:
        """Start a call of `zoo`."""
        self.drivers += 1
        return self.hosts[host].start([BIN / "zoo", *arguments], self.user(home), f"zoo-{self.drivers}")

    def user(self, home: Path) -> dict[str, str]:
        """The variables of somebody who uses the cluster."""
        return {**self.env, **self.mlflow.client, "ZOO_HOME": str(home), "COLUMNS": "150"}


@contextmanager
def cluster(extensions: Path, logs: Path, cpus: Mapping[str, int] = ONE_EACH) -> Iterator[Cluster]:
    """Yield a running cluster with nodes of so many `cpus`, the head among them.

    `extensions` is where DeepSpeed keeps what it compiles.
    """
    logs.mkdir(parents=True, exist_ok=True)
    with network(logs, [*cpus, REGISTRY]) as (shared, hosts):
        token = shared / _TOKEN.name
        token.touch(mode=0o600)
        token.write_text(secrets.token_hex(32), encoding="utf-8")
        registry = hosts[REGISTRY]
        made = Cluster(hosts, shared, extensions, Postgres(registry), Mlflow(registry), cpus)
        made.postgres.create()
        made.postgres.start()
        made.mlflow.start()
        for name in cpus:
            made.start(name)
        build = hosts[HEAD].start([sys.executable, "-c", _BUILD], made.env, "build")
        made.heal()
        assert build.wait(SECONDS) == 0, build.said()
        yield made


def why_not() -> str | None:
    """Why there can be no cluster of several hosts on this machine; None where there can."""
    return no_hosts() or no_registry()
