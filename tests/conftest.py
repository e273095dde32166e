"""What all tests share: a home of their own, and no hub to download from."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def _session_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(autouse=True)
def home(_session_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One `ZOO_HOME` for the session, so that data are decoded once; tests that count entries set their own."""
    monkeypatch.setenv("ZOO_HOME", str(_session_home))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield _session_home


@pytest.fixture(scope="session")
def torch_extensions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where DeepSpeed keeps what it compiles, which takes a minute: one folder for all processes of this test run."""
    base = tmp_path_factory.getbasetemp()
    return (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "torch_extensions"


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Tiny models are faster so, and kinder to whoever shares the machine."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
