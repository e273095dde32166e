"""A real `mlflow server` on the loopback, for tests."""

import contextlib
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from http.client import HTTPConnection
from pathlib import Path

import pytest

POLL_SECONDS = 0.2
POLLS = 600


@contextlib.contextmanager
def mlflow_server(folder: Path, database: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[str]:
    """Yield the address of a server with a copy of an SQLite file behind it; all of its files are in `folder`."""
    shutil.copy(database, folder)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = str(listener.getsockname()[1])
    place = ["--host", "127.0.0.1", "--port", port, "--workers", "1"]
    store = ["--backend-store-uri", f"sqlite:///{folder / 'registry.db'}", "--artifacts-destination", str(folder)]
    command = [sys.executable, "-m", "mlflow", "server", *place, *store, *options]
    alone = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", **(env or {})}
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log, env=os.environ | alone, cwd=folder) as process,
    ):
        try:
            _wait(process, int(port))
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(POLLS):
        with contextlib.suppress(subprocess.TimeoutExpired):
            pytest.fail(f"the server ended with {process.wait(POLL_SECONDS)}")
        with (
            contextlib.suppress(OSError),
            contextlib.closing(HTTPConnection("127.0.0.1", port)) as connection,
        ):
            connection.request("GET", "/health")
            if connection.getresponse().status == 200:
                return
    pytest.fail("the server did not start")
