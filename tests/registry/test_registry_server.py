"""Which MLflow is used, what happens when it is not there, and when many come at once."""

import multiprocessing
import os
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from threading import Thread

import pytest

from registry import server
from registry.entries import list_entries
from registry.register import register
from registry.server import RoleError, connect
from zoo.errors import BadInputError, IntegrityError, NotFoundError, ZooError

MakeLearngene = Callable[..., Path]
PROCESSES = 6
START_SECONDS = 60


@pytest.fixture(scope="module")
def processes() -> ForkServerContext:
    """Processes that have imported everything, so that they reach the database at the same moment."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["registry.register", "zoo.learngene", "mlflow.store.tracking.sqlalchemy_store"])
    return context


def _opens(barrier: Barrier, home: Path) -> None:
    os.environ["ZOO_HOME"] = str(home)
    barrier.wait(START_SECONDS)
    assert list_entries() == []


def _registers(barrier: Barrier, home: Path, folder: Path) -> None:
    os.environ["ZOO_HOME"] = str(home)
    assert list_entries() == []
    barrier.wait(START_SECONDS)
    assert register(folder, "vit", metrics={"accuracy": 0.5}).ref == "vit:1"


def _run(context: ForkServerContext, task: Callable[..., None], *args: Path) -> list[int | None]:
    """The exit codes of processes that do the same thing at the same time."""
    barrier = context.Barrier(PROCESSES)
    workers = [context.Process(target=task, args=(barrier, *args)) for _ in range(PROCESSES)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return [worker.exitcode for worker in workers]


def test_six_processes_open_a_fresh_home_at_once(processes: ForkServerContext, fresh_home: Path) -> None:
    assert _run(processes, _opens, fresh_home) == [0] * PROCESSES


def test_a_first_use_that_was_killed_half_way_is_begun_anew(fresh_home: Path) -> None:
    fresh_home.mkdir()
    for half in ("registry.db.new", "registry.db.new-journal"):
        (fresh_home / half).write_bytes(b"half of it")
    assert list_entries() == []
    assert sorted(path.name for path in fresh_home.iterdir()) == ["registry.db", "registry.db.lock"]


def test_six_processes_register_one_learngene_at_once_and_it_is_one_version(
    processes: ForkServerContext, ready_home: Path, learngene: MakeLearngene
) -> None:
    assert _run(processes, _registers, ready_home, learngene()) == [0] * PROCESSES
    assert [entry.ref for entry in list_entries()] == ["vit:1"]
    with connect() as client:
        assert len(client.search_runs(["1"], run_view_type=3)) == 1  # 3: also the deleted; none was undone


def test_importing_the_room_is_light() -> None:
    heavy = "{'mlflow', 'torch', 'sqlalchemy'}"
    program = f"import sys, registry.register, registry.pull; print(sorted({heavy} & sys.modules.keys()))"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def test_a_first_use_is_silent_and_leaves_nothing_elsewhere(fresh_home: Path, tmp_path: Path) -> None:
    program = (
        "from registry.entries import list_entries; print(list_entries()); "
        "from mlflow.telemetry import get_telemetry_client; print(get_telemetry_client())"
    )
    (tmp_path / "work").mkdir()
    user = {"HOME": str(tmp_path / "user"), "ZOO_HOME": str(fresh_home), "PATH": os.environ["PATH"]}
    result = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path / "work",
        env=user,
    )
    assert (result.stdout, result.stderr) == ("[]\nNone\n", "")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", "work"]
    assert sorted(path.name for path in fresh_home.iterdir()) == ["registry.db", "registry.db.lock"]
    assert not list((tmp_path / "work").iterdir())


def test_a_home_may_have_any_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, learngene: MakeLearngene) -> None:
    home = tmp_path / "Größe 100% #1"
    monkeypatch.setenv("ZOO_HOME", str(home))
    register(learngene(), "vit", metrics={})
    assert (home / "registry.db").is_file()


@pytest.mark.parametrize(
    "uri",
    [
        "sqlite:///relative.db",
        "sqlite://",
        "file:///tmp/mlruns",
        "mlruns",
        "postgresql://me:secret@db/x",
        "http:///",
    ],
)
def test_an_address_that_is_not_legal_is_refused(monkeypatch: pytest.MonkeyPatch, uri: str) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    with pytest.raises(BadInputError, match=r"MLFLOW_TRACKING_URI: .* legal are http") as caught:
        list_entries()
    assert "secret" not in str(caught.value)


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def test_a_server_that_is_not_there_is_said_so_without_credentials(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch, closed_port: int
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port}")
    with pytest.raises(NotFoundError, match=f"registry http://127.0.0.1:{closed_port} does not answer") as caught:
        list_entries()
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_server_that_never_answers_is_given_up(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "PROBE_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{listener.getsockname()[1]}")
        with pytest.raises(NotFoundError, match="does not answer"):
            list_entries()


class _Gateway(BaseHTTPRequestHandler):
    """Answers everything with the status that its server carries."""

    status = 503

    def do_GET(self) -> None:
        self.send_response(self.status)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


class _Forbids(_Gateway):
    status = 403


@pytest.mark.parametrize(
    ("gateway", "error", "message"),
    [(_Gateway, NotFoundError, "answers 503"), (_Forbids, RoleError, "refused user .me.: not permitted .403, ")],
)
def test_what_a_gateway_says_is_passed_on_without_credentials(
    fresh_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    gateway: type[_Gateway],
    error: type[ZooError],
    message: str,
) -> None:
    with HTTPServer(("127.0.0.1", 0), gateway) as gate:
        Thread(target=gate.serve_forever, daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{gate.server_port}")
        with pytest.raises(error, match=message) as caught:
            list_entries()
        gate.shutdown()
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_a_file_that_is_no_database_is_said_so(fresh_home: Path) -> None:
    fresh_home.mkdir()
    (fresh_home / "registry.db").write_bytes(bytes(range(256)) * 64)
    with pytest.raises(IntegrityError, match=r"registry.db: not a database of MLflow .*register the learngenes again"):
        list_entries()
