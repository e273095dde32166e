"""PostgreSQL and an MLflow server of its own, on the loopback, for as long as a block runs."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryDirectory

SECONDS = 300  # to start
USER = "postgres"  # PostgreSQL refuses to run as root


@contextmanager
def postgresql() -> Iterator[str]:
    """Yield the address of an empty database. It keeps its usual promises (it flushes every commit)."""
    user = USER if os.geteuid() == 0 else None
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        data = Path(folder) / "data"
        data.mkdir()
        if user:
            shutil.chown(data, user)
        port = free_port()
        begin = [_program("initdb"), "-D", str(data), "-U", "zoo", "-A", "trust", "-E", "UTF8"]
        subprocess.run(begin, user=user, check=True, stdout=subprocess.DEVNULL, cwd="/")
        serve = [_program("postgres"), "-D", str(data), "-p", str(port), "-k", str(data)]
        log = (data.parent / "log").open("wb")
        with log, subprocess.Popen(serve, user=user, stderr=log, cwd="/") as process:
            try:
                ask = [_program("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
                wait(process, lambda: subprocess.run(ask, check=False).returncode == 0)
                yield f"postgresql+psycopg://zoo@127.0.0.1:{port}/postgres"
            finally:
                process.terminate()


@contextmanager
def mlflow_server(store: str, folder: Path, workers: int = 1) -> Iterator[str]:
    """Yield the address of a server in front of a database."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", str(workers), "--backend-store-uri", store, "--artifacts-destination", str(folder)]
    alone = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | alone, cwd=folder) as process,
    ):
        try:
            wait(process, lambda: _is_well(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def wait(process: subprocess.Popen[bytes], is_ready: Callable[[], bool]) -> None:
    """Until a server answers. Ends the benchmark if it ends, or takes too long."""
    for _ in range(SECONDS * 2):
        with suppress(subprocess.TimeoutExpired):
            sys.exit(f"{process.args} ended with {process.wait(0.5)}")
        if is_ready():
            return
    sys.exit(f"{process.args} did not start")


def _is_well(port: int) -> bool:
    with suppress(OSError), closing(HTTPConnection("127.0.0.1", port, timeout=5)) as connection:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    return False


def _program(name: str) -> str:
    """A program of PostgreSQL, on the PATH or where Debian puts it."""
    places = [str(folder) for folder in sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    found = shutil.which(name, path=os.pathsep.join([os.environ["PATH"], *places]))
    return found or sys.exit(f"{name} is not here: install PostgreSQL")
