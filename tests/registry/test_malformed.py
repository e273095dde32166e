"""At least 200 malformed learngenes: each is refused with a `ZooError`, or is a sound learngene after all."""

import resource
import shutil
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from malformed import Damage, damaged_manifest, damaged_tensors, examples

from registry.pull import fetch
from zoo.api import condense
from zoo.checkpoint import Checkpoint
from zoo.errors import ZooError
from zoo.families import architecture
from zoo.learngene import Learngene, check
from zoo.methods.front import Front
from zoo.methods.kronecker import Kronecker
from zoo.size import Size

MEMORY = 2**28  # what refusing may take of the address space, torch's own included
TRACED = 2**24  # what it may take of Python's memory
EXAMPLES = 100  # for each of two methods and two files
Sound = dict[str, Path]

many = examples(EXAMPLES)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Sound:
    """A learngene in closed form and one that is trained; the first load takes the memory that stays."""
    root = tmp_path_factory.mktemp("sound")
    arch = architecture(
        "vit", {"img_size": 8, "patch_size": 4, "in_chans": 1, "num_classes": 2}, Size(depth=1, width=8, heads=2, mlp=8)
    )
    weights = {name: torch.full(shape, 0.5) for name, shape in arch.shapes().items()}
    trained = Kronecker(tile=4, templates=2)
    condense(Checkpoint(arch, weights, digest="ab" * 32), Front()).save(root / "front")
    Learngene(trained, arch, trained.start(arch, 0)).save(root / "kronecker")
    return {path.name: path for path in root.iterdir() if check(path)}


@pytest.fixture
def little_memory() -> Iterator[None]:
    """Whoever believes a header that promises gigabytes fails to get them."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.usefixtures("little_memory")
@pytest.mark.parametrize("damages", [damaged_manifest, damaged_tensors])
@pytest.mark.parametrize("method", ["front", "kronecker"])
def test_malformed_learngenes_are_refused_and_nothing_is_written_elsewhere(
    sound: Sound, tmp_path: Path, method: str, damages: Callable[[Path], st.SearchStrategy[Damage]]
) -> None:
    registered, refused = check(sound[method]).digest, 0

    @many
    @given(damages(sound[method]))
    def every_one(damage: Damage) -> None:
        nonlocal refused
        source = tmp_path / "source"
        shutil.copytree(sound[method], source, dirs_exist_ok=True)
        damage(source)
        tracemalloc.start()
        refused += not _is_sound(source)
        _refuses_or_fetches(source, registered, tmp_path)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < TRACED
        assert {path.name for path in tmp_path.iterdir()} == {"source"}

    every_one()
    assert refused > EXAMPLES * 0.8


def _is_sound(source: Path) -> bool:
    """Whether it loads; what loads can be used."""
    try:
        learngene = Learngene.load(source)
        weights = learngene.expand(learngene.source.size)
    except ZooError:
        return False
    assert {name: tuple(tensor.shape) for name, tensor in weights.items()} == learngene.source.shapes()
    return True


def _refuses_or_fetches(source: Path, registered: str, place: Path) -> None:
    """A pull brings what was registered or nothing."""
    try:
        fetch(source, registered, place / "copy", "vit:1")
    except ZooError:
        return
    assert check(place / "copy").digest == registered
    shutil.rmtree(place / "copy")
