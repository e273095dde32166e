"""A disk that fills up while something is registered."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from registry.entries import list_entries
from registry.register import register
from zoo.errors import ZooError

MakeLearngene = Callable[..., Path]


@pytest.fixture
def small_disk(tmp_path: Path, database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home on a file system of 8 MB with an empty registry; needs the right to mount."""
    place = tmp_path / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(place)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")
    shutil.copy(database, place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("ZOO_HOME", str(place))
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def test_a_registration_on_a_full_disk_says_so_and_leaves_no_entry(learngene: MakeLearngene, small_disk: Path) -> None:
    source = learngene()
    register(learngene(1), "other", metrics={})
    before = list_entries()
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space left"):
        while True:
            file.write(bytes(4096))
    with pytest.raises(ZooError, match="full"):
        register(source, "vit", metrics={"accuracy": 0.5})
    assert list_entries() == before
    filler.unlink()
    assert register(source, "vit", metrics={"accuracy": 0.5}).ref == "vit:1"
