"""A disk that really fills up while an artifact is written: one clear error, and nothing left behind."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from zoo_samples import learngene, noise, vit

from registry.pull import fetch
from zoo.checkpoint import Checkpoint, save_checkpoint
from zoo.errors import DiskFullError, IntegrityError
from zoo.files import atomic_folder, write_json
from zoo.learngene import Learngene
from zoo.methods.front import Front

LARGE = vit(depth=4, width=64, heads=4, mlp=256)
SMALL = vit(depth=1, width=4, heads=1, mlp=4)
MakeDisk = Callable[[str], Path]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[MakeDisk]:
    """Mounts a small file system; needs the right to mount, which containers may not give."""
    mounted: list[Path] = []

    def mount(options: str) -> Path:
        place = tmp_path / "disk"
        place.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)], check=False, capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no right to mount a small disk: {done.stderr.strip()}")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def test_a_learngene_that_does_not_fit_leaves_nothing(disk: MakeDisk) -> None:
    place = disk("size=64k")
    with pytest.raises(IntegrityError, match="gene: the disk is full; nothing was written"):
        learngene(Front(), LARGE).save(place / "gene")
    assert list(place.iterdir()) == []


def test_a_learngene_that_does_not_fit_leaves_the_one_before(disk: MakeDisk) -> None:
    place = disk("size=64k")
    before = learngene(Front(), SMALL).save(place / "gene")
    with pytest.raises(IntegrityError, match="the disk is full"):
        learngene(Front(), LARGE).save(place / "gene")
    assert [path.name for path in place.iterdir()] == ["gene"]
    assert Learngene.load(place / "gene").digest == before.digest


def test_a_model_that_does_not_fit_leaves_nothing(disk: MakeDisk) -> None:
    place = disk("size=64k")
    with pytest.raises(IntegrityError, match="ready: the disk is full"):
        save_checkpoint(place / "ready", Checkpoint(LARGE, noise(LARGE)), origin="A test.")
    assert list(place.iterdir()) == []


def test_a_json_file_that_does_not_fit_is_as_it_was_before(disk: MakeDisk) -> None:
    place = disk("size=64k")
    write_json(place / "record.json", {"before": 1})
    content = (place / "record.json").read_bytes()
    with pytest.raises(IntegrityError, match=r"record.json: the disk is full"):
        write_json(place / "record.json", ["x" * 1000] * 1000)
    assert (place / "record.json").read_bytes() == content
    assert [path.name for path in place.iterdir()] == ["record.json"]


def test_a_disk_without_room_for_one_more_folder_says_so_too(disk: MakeDisk) -> None:
    place = disk("size=64k,nr_inodes=2")
    (place / "last").touch()
    with pytest.raises(IntegrityError, match="gene: the disk is full"), atomic_folder(place / "gene"):
        pytest.fail("there was room after all")
    assert [path.name for path in place.iterdir()] == ["last"]


def test_a_pull_that_does_not_fit_leaves_nothing_and_blames_the_disk(disk: MakeDisk, tmp_path: Path) -> None:
    source, cache = tmp_path / "source", disk("size=64k")
    digest = learngene(Front(), LARGE).save(source).digest
    with pytest.raises(DiskFullError, match="the disk is full; nothing was written"):
        fetch(source, digest, cache / digest, "vit:1")
    assert list(cache.iterdir()) == []
