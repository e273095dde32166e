"""`zoo doctor`: every row is wrong where something is wrong, and says what to do."""

import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import distribution
from pathlib import Path
from threading import Thread

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from filelock import FileLock
from packaging.requirements import Requirement

from pipelines import cli
from pipelines.artifacts.check import check_store
from pipelines.doctor import checks, keys_check, package_check, token_check, webdataset_check
from registry.doctor import Check, check_registry


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def row(rows: list[Check], name: str) -> Check:
    return next(row for row in rows if row.name == name)


def test_a_sound_machine_has_no_failure_and_the_verb_ends_with_0(
    ready_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["zoo", "doctor", "--json"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    rows = {row["name"]: row["state"] for row in json.loads(capsys.readouterr().out)}
    assert not end.value.code
    sound = ("python", "packages", "packages: registry", "artifact store", "store clock", "registry", "registry access")
    assert [rows[name] for name in (*sound, "orphans")] == ["ok"] * 8


def test_what_is_broken_ends_with_1_and_says_what_to_do(
    ready_home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], closed_port: int
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://me:secret@127.0.0.1:{closed_port}")
    monkeypatch.setattr("sys.argv", ["zoo", "doctor", "--address", f"127.0.0.1:{closed_port}"])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().out
    assert (end.value.code, said.count("failure"), "secret" in said) == (1, 2, False)
    assert "MLFLOW_TRACKING_URI" in said
    assert "--address" in said


@pytest.mark.parametrize(
    ("uri", "found", "advice"),
    [("mlruns", "MLFLOW_TRACKING_URI: 'mlruns' is not legal", "set it right"), (None, "not a database", "backup")],
)
def test_a_registry_that_cannot_be_opened_is_a_failure(
    fresh_home: Path, monkeypatch: pytest.MonkeyPatch, uri: str | None, found: str, advice: str
) -> None:
    fresh_home.mkdir()
    (fresh_home / "registry.db").write_bytes(bytes(range(256)) * 64)
    if uri:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    (check,) = check_registry()
    assert (check.state, found in check.found, advice in check.advice) == ("failure", True, True)


class _Late(BaseHTTPRequestHandler):
    """A registry of another version, whose clock its class tells."""

    seconds = 0.0

    def do_GET(self) -> None:
        body = b"9.9.9" if self.path == "/version" else b'{"registered_models": []}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def date_time_string(self, timestamp: float | None = None) -> str:
        return formatdate((timestamp or time.time()) + self.seconds, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def late_server(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with HTTPServer(("127.0.0.1", 0), _Late) as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{server.server_port}")
        yield
        server.shutdown()


@pytest.mark.parametrize(
    ("seconds", "state", "found"),
    [(0, "ok", "differs by less"), (-60, "warning", "60 s behind"), (3600, "failure", "3600 s ahead of")],
)
def test_the_clock_of_the_server_is_compared(
    late_server: None, monkeypatch: pytest.MonkeyPatch, seconds: float, state: str, found: str
) -> None:
    monkeypatch.setattr(_Late, "seconds", seconds + 0.5)
    rows = check_registry()
    clock = row(rows, "registry clock")
    assert (clock.state, found[:3] in clock.found) == (state, True)
    assert (row(rows, "registry").state, "MLflow 9.9.9" in row(rows, "registry").found) == ("warning", True)


def test_a_place_that_cannot_be_written_is_a_failure_even_for_root(monkeypatch: pytest.MonkeyPatch) -> None:
    check = check_store(Path("/proc/zoo/store"))
    assert (check.state, "cannot be written" in check.found) == ("failure", True)
    monkeypatch.setenv("ZOO_HOME", "/proc/zoo")
    rows = checks()
    assert {row(rows, name).state for name in ("artifact store", "registry")} == {"failure"}


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 200 KB; skipped where we may not mount one."""
    disk = tmp_path / "small"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk], check=False).returncode:
        pytest.skip("not allowed to mount")
    yield disk
    subprocess.run(["umount", disk], check=True)


def test_a_full_disk_is_a_failure(small_disk: Path) -> None:
    check = check_store(small_disk / "store")
    assert (check.state, "the disk is full" in check.found) == ("failure", True)
    assert not list((small_disk / "store").iterdir())


def test_garbage_is_a_warning_and_a_store_that_the_registry_does_not_know_a_failure(ready_home: Path) -> None:
    left = ready_home / "store/learngenes" / f".{'cd' * 32}.half"
    left.mkdir(parents=True)
    os.utime(left, (0, 0))
    orphans = row(checks(), "orphans")
    assert (orphans.state, orphans.found.startswith("1 things")) == ("warning", True)
    whole = ready_home / "store/learngenes" / ("ab" * 32)
    whole.mkdir()
    os.utime(whole, (0, 0))
    orphans = row(checks(), "orphans")
    assert (orphans.state, "is this the right registry" in orphans.found) == ("failure", True)


def test_a_collection_that_runs_is_a_warning(ready_home: Path) -> None:
    (ready_home / "store").mkdir()
    with FileLock(ready_home / "store/gc.lock"):
        orphans = row(checks(), "orphans")
    assert (orphans.state, "another collection" in orphans.found) == ("warning", True)


def test_every_extra_for_users_has_a_row() -> None:
    extras = set(distribution("learngene-zoo").metadata.get_all("Provides-Extra") or ()) - {"all", "dev"}
    assert {name.removeprefix("packages: ") for name in (row.name for row in checks()) if ": " in name} == extras


def test_keys_that_cannot_be_read_are_a_failure_and_others_are_counted(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("ZOO_TRUSTED_KEYS", raising=False)
    assert keys_check() == Check("trusted keys", "ok", "ZOO_TRUSTED_KEYS is not set: no signature is asked for")
    monkeypatch.setenv("ZOO_TRUSTED_KEYS", "")
    assert keys_check().state == "failure"
    public = Ed25519PrivateKey.generate().public_key()
    (tmp_path / "key.pem").write_bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    monkeypatch.setenv("ZOO_TRUSTED_KEYS", str(tmp_path))
    assert (keys_check().state, keys_check().found) == ("ok", f"1 of {tmp_path}")


def test_packages_are_compared_with_what_the_project_asks_for() -> None:
    assert package_check("", [Requirement("numpy>=2")]).state == "ok"
    wrong = package_check("vision", [Requirement("numpy>=99")])
    assert (wrong.state, "wanted is >=99" in wrong.found) == ("failure", True)
    missing = package_check("vision", [Requirement("no-such-package-of-ours>=1")])
    assert (missing.state, "timm models" in missing.advice) == ("warning", True)
    assert package_check("", [Requirement("no-such-package-of-ours>=1")]).state == "failure"


def test_settings_that_open_doors_are_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for setting, state in (("1", "ok"), ("0", "warning")):
        monkeypatch.setenv("WDS_SECURE", setting)
        assert webdataset_check().state == state
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    assert token_check().state == "warning"
    monkeypatch.setenv("RAY_AUTH_MODE", "token")
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "absent"))
    assert token_check().state == "failure"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "x" * 64)
    assert token_check().state == "ok"
