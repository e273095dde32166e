"""A real Ray on loopback as `ray start` makes it: a head without CPUs and a worker, both behind a token."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep

BIN = Path(sys.executable).parent
DEADLINE = 180
HEAD, WORKER = "127.0.0.2", "127.0.0.3"
"""On loopback, but not the address that Ray would replace by a reachable one."""


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return server.getsockname()[1]


@dataclass(frozen=True)
class TokenCluster:
    """Where it answers; its nodes have `home` as ZOO_HOME."""

    home: Path
    dashboard: int = field(default_factory=free_port)
    port: int = field(default_factory=free_port)
    token: str = field(default_factory=lambda: secrets.token_hex(32))

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.dashboard}"

    @property
    def client(self) -> dict[str, str]:
        """The environment of somebody who may use it, and whose own home is elsewhere."""
        bare = {name: value for name, value in os.environ.items() if not name.startswith(("RAY_", "ZOO_"))}
        return bare | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": self.token, "ZOO_HOME": str(self.home) + "-client"}

    @property
    def node(self) -> dict[str, str]:
        own = {
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PATH": f"{BIN}:{os.environ['PATH']}",
            "RAY_USAGE_STATS_ENABLED": "0",
            "ZOO_HOME": str(self.home),
        }
        return self.client | own

    def start(self, stack: ExitStack, *options: str) -> None:
        command = [str(BIN / "ray"), "start", "--block", "--disable-usage-stats"]
        ports = [f"--dashboard-agent-listen-port={free_port()}", f"--metrics-export-port={free_port()}"]
        process = subprocess.Popen(
            [*command, *ports, *options],
            env=self.node,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        stack.callback(_end, process)

    def wait(self) -> None:
        until = monotonic() + DEADLINE
        command = [str(BIN / "zoo"), "status", "--address", self.address]
        while subprocess.run(command, env=self.client, capture_output=True, check=False).returncode:
            assert monotonic() < until
            sleep(0.2)


@contextmanager
def token_cluster(home: Path, cpus: int = 2) -> Iterator[TokenCluster]:
    cluster = TokenCluster(home)
    folder = tempfile.mkdtemp(prefix="zoo-test-", dir="/tmp")
    store = "--object-store-memory=100000000"
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        head = [
            "--head",
            f"--node-ip-address={HEAD}",
            f"--port={cluster.port}",
            "--num-cpus=0",
            f"--temp-dir={folder}",
            store,
        ]
        cluster.start(stack, *head, "--dashboard-host=127.0.0.1", f"--dashboard-port={cluster.dashboard}")
        cluster.wait()
        cluster.start(
            stack, f"--address={HEAD}:{cluster.port}", f"--node-ip-address={WORKER}", f"--num-cpus={cpus}", store
        )
        yield cluster


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
