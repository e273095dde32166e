"""The operations that docs/scale.md counts, in the order of a learngene's life."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from benchmarks.rows import SEED
from benchmarks.scale.costs import MOST, Cost, measured, process
from pipelines.artifacts.lease import claim, look
from pipelines.artifacts.store import PROGRESS, Store, Workplace
from pipelines.recipe.file import load_recipe
from pipelines.recipe.identity import stage_keys
from zoo import Architecture, Checkpoint, Front, Learngene, Size, condense, save_checkpoint
from zoo.api import instantiate
from zoo.families import architecture
from zoo.files import write_json
from zoo.manifest import verify

SIZE, OTHER = Size(depth=6, width=96, heads=3), Size(depth=8, width=128, heads=4)
IMAGES = {"img_size": 32, "patch_size": 8, "in_chans": 3, "num_classes": 10}
RECIPE = Path(__file__).parents[2] / "pipelines/recipes/demo.yaml"
KEY = "0" * 64


def of_keys() -> Iterator[Cost]:
    """What a stage is, as a hash."""
    recipe = load_recipe(RECIPE)
    count = len(stage_keys(recipe))
    whole = measured("", lambda: stage_keys(recipe))
    yield Cost("key of a stage", whole.cpu / count, whole.wall / count, whole.times, round(whole.calls / count))


def of_stages(store: Store) -> Iterator[Cost]:
    """Leases, progress and records, in `store`."""

    def take_and_release() -> None:
        lease = claim(store.root, KEY, 0)
        assert lease
        lease.release()

    yield measured("lease: claim and release", take_and_release)
    lease = claim(store.root, KEY, 0)
    assert lease
    yield measured("lease: renew", lambda: (lease.lost(), os.utime(lease.path)))
    yield measured("lease: look, while another run has it", lambda: _wait_a_moment(store))
    progress = store.root / "work" / KEY / "1" / PROGRESS
    progress.parent.mkdir(parents=True)
    numbers = {"step": 10, "total": 100, "loss": 1.0, "samples_per_second": 1e3}
    yield measured("progress: write", lambda: write_json(progress, numbers))
    yield measured("progress: look", lambda: store.progress(KEY))
    lease.release()
    keys = iter(range(1, 10 * MOST))
    yield measured("stage: lease to record", lambda: _stage(store, f"{next(keys):064}"))
    yield measured("record: read", lambda: store.record(f"{1:064}"))


def _wait_a_moment(store: Store) -> None:
    """What a run does every time that it finds a stage taken."""
    assert store.record(KEY) is None
    assert claim(store.root, KEY, 0) is None
    assert look(store.root, KEY)


def _stage(store: Store, key: str) -> None:
    with store.lease(key, lambda _: None, lambda: False) as place:
        assert isinstance(place, Workplace)
        (place.work / "output").mkdir()
        for name in ("learngene.safetensors", "manifest.json", "README.md"):
            (place.work / "output" / name).write_text(name, encoding="utf-8")
        store.commit(place, "front", {"function": "condense/1", "config": {}, "inputs": {}}, {}, 1.0)


def of_learngenes(folder: Path) -> Iterator[Cost]:
    """A registry, a node's copy, a model of another size. `ZOO_HOME` is where they are."""
    from registry.entries import find_entry
    from registry.pull import pull
    from registry.register import register

    arch = architecture("vit", IMAGES, SIZE)
    made = (_learngene(arch, folder / "learngenes" / str(seed), seed) for seed in range(10 * MOST))
    first = next(made)
    register(first, "scale", metrics={})
    yield measured("registry: register, SQLite", lambda: register(next(made), "scale", metrics={}), shared=False)
    yield measured("registry: find, SQLite", lambda: find_entry("scale:1"), shared=False)
    copy = pull("scale:1")
    yield measured("pull: registry and a node's copy", lambda: pull("scale:1"), shared=False)
    yield measured("pull: a node's copy, verified", lambda: verify(copy), shared=False)
    loaded = Learngene.load(copy)
    yield measured("model: expand in memory", lambda: loaded.expand(OTHER), shared=False)
    yield measured("model: make a folder", lambda: _make(copy, folder / "model"), shared=False)
    size = ("--depth", OTHER.depth, "--width", OTHER.width, "--heads", OTHER.heads)
    name = "model: zoo instantiate, a process"
    yield process(name, lambda number: ("instantiate", copy, *size, "--out", folder / f"ready-{number}"))


def _learngene(arch: Architecture, folder: Path, seed: int) -> Path:
    """Random numbers of the right shapes: no cost here depends on the values."""
    generator = torch.Generator().manual_seed(SEED + seed)
    weights = {name: torch.randn(shape, generator=generator) for name, shape in arch.shapes().items()}
    condense(Checkpoint(arch, weights), Front()).save(folder)
    return folder


def _make(learngene: Path, folder: Path) -> None:
    save_checkpoint(folder, instantiate(Learngene.load(learngene), OTHER), origin="a benchmark")
