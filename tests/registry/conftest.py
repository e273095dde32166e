"""A home of its own for every test, and real learngenes to put into the store."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from registry.entries import list_entries
from zoo.api import condense
from zoo.checkpoint import Checkpoint
from zoo.families import architecture
from zoo.methods.front import Front
from zoo.size import Size

MakeLearngene = Callable[..., Path]


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with all tables and no rows: making one takes seconds, copying one nothing."""
    home = tmp_path_factory.mktemp("template")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ZOO_HOME", str(home))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert list_entries() == []
    return home / "registry.db"


@pytest.fixture
def fresh_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home where nothing has ever been."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("ZOO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def ready_home(fresh_home: Path, database: Path) -> Path:
    """A home with an empty registry."""
    fresh_home.mkdir()
    shutil.copy(database, fresh_home)
    return fresh_home


@pytest.fixture
def learngene(tmp_path: Path, fresh_home: Path) -> MakeLearngene:
    """Makes learngenes in the artifact store; another seed is another learngene."""

    def make(seed: int = 0, store: str = "store") -> Path:
        config = {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 2}
        arch = architecture("vit", config, Size(depth=1, width=8, heads=2, mlp=16))
        generator = torch.Generator().manual_seed(seed)
        weights = {name: torch.randn(shape, generator=generator) for name, shape in arch.shapes().items()}
        folder = tmp_path / store / str(seed)
        condense(Checkpoint(arch, weights, digest="ab" * 32), Front()).save(folder)
        return folder

    return make
