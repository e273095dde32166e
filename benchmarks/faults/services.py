"""The registry of the cluster: MLflow with users, on PostgreSQL. Both can be stopped and started again."""

import secrets
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.hosts import LOCAL, Host, Process
from benchmarks.faults.waiting import until

ROOT = Path(__file__).parents[2]
PORT = 5000
USER = "admin"
OWNER = "nobody"
"""Of the database: PostgreSQL refuses to be root's."""
SECONDS = 240

_ANSWERS = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=5)"


def postgres_folder() -> Path | None:
    """Where PostgreSQL's programs are, the newest where there are several; Debian keeps them off the PATH."""
    if found := shutil.which("initdb"):
        return Path(found).resolve().parent
    folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: int(folder.parent.name))
    return folders[-1] if folders else None


def why_not() -> str | None:
    """Why there can be no PostgreSQL on this machine; None where there can."""
    return None if postgres_folder() else "no PostgreSQL server on this machine (Debian: postgresql)"


@dataclass
class Postgres:
    """A database server for its own host."""

    host: Host
    _process: Process | None = None

    def create(self) -> None:
        """Make an empty data folder."""
        self.host.run(["install", "--directory", "--owner", OWNER, LOCAL / "pg"], {})
        options = [
            "--auth=trust",
            f"--username={OWNER}",
            "--no-sync",
            "--locale=C.UTF-8",
            "--pgdata",
            LOCAL / "pg/data",
        ]
        self.host.run([_program("initdb"), *options], {}, user=OWNER)

    def start(self) -> None:
        """Start the server; returns when it answers."""
        command = [_program("postgres"), "-D", LOCAL / "pg/data", "-k", LOCAL / "pg", "-h", "127.0.0.1"]
        self._process = self.host.start(command, {}, "postgres", user=OWNER)
        ready = [_program("pg_isready"), "--host=127.0.0.1", "--quiet"]
        until(lambda: self.host.succeeds(ready, {}, user=OWNER), "PostgreSQL", SECONDS, self._process.hopeless)

    def heal(self) -> None:
        """Start it again if it is not there."""
        if self._process is None or self._process.ended() is not None:
            self.start()

    def stop(self) -> None:
        """Stop it at once: connections break, and what was not committed is lost."""
        assert self._process
        self._process.kill(signal.SIGQUIT)
        self._process.wait(SECONDS)


def _program(name: str) -> Path:
    folder = postgres_folder()
    assert folder
    return folder / name


@dataclass
class Mlflow:
    """MLflow's server with users, as `infra/docker/compose.yaml` starts it."""

    host: Host
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    key: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)
    _process: Process | None = None

    @property
    def address(self) -> str:
        """`host:port`."""
        return f"{self.host.address}:{PORT}"

    @property
    def client(self) -> dict[str, str]:
        """The variables of those who talk to it."""
        return {
            "MLFLOW_TRACKING_URI": f"http://{self.address}",
            "MLFLOW_TRACKING_USERNAME": USER,
            "MLFLOW_TRACKING_PASSWORD": self.password,
        }

    def start(self) -> None:
        """Start it on the PostgreSQL of its host, without waiting for it."""
        listen = [f"--host={self.host.address}", f"--port={PORT}", f"--allowed-hosts={self.address}", "--workers=1"]
        places = ["--backend-store-uri=postgresql+psycopg://", f"--artifacts-destination={LOCAL}/artifacts"]
        command = [sys.executable, "-m", "mlflow", "server", "--app-name=basic-auth", *listen, *places]
        env = {
            "PGHOST": "127.0.0.1",
            "PGUSER": OWNER,
            "PGDATABASE": "postgres",
            "MLFLOW_AUTH_CONFIG_PATH": str(ROOT / "infra/docker/auth.ini"),
            "MLFLOW_AUTH_ADMIN_USERNAME": USER,
            "MLFLOW_AUTH_ADMIN_PASSWORD": self.password,
            "MLFLOW_FLASK_SERVER_SECRET_KEY": self.key,
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        }
        self._process = self.host.start(command, env, "mlflow")

    def wait(self) -> None:
        """Until it answers."""
        assert self._process
        check = [sys.executable, "-c", _ANSWERS, f"http://{self.address}/health"]
        until(lambda: self.host.succeeds(check, {}), "MLflow", SECONDS, self._process.hopeless)

    def heal(self) -> None:
        """Start it again if it is not there; returns when it answers."""
        if self._process is None or self._process.ended() is not None:
            self.start()
        self.wait()

    def stop(self) -> None:
        """Kill it; whoever asks is refused."""
        self.host.kill_all("mlflow")
