"""The runner: what can run at the same time does, and a failure does not cost what others have done."""

from collections.abc import Iterator
from pathlib import Path
from signal import SIGINT, default_int_handler, pthread_kill, signal
from threading import Thread, main_thread
from time import sleep

import pytest
from rich.console import Console

from infra.cluster import connect
from pipelines.artifacts.store import Store
from pipelines.recipe.file import load_recipe
from pipelines.run.runner import plan, refresh, run
from pipelines.run.status import StageStatus
from pipelines.show.stages import stage_table
from zoo.errors import DivergedError

RECIPE = """\
name: two
family: vit
config: {img_size: 8, patch_size: 4, in_chans: 1, num_classes: 10}
data: {kind: digits, limit: 128, validation: 0.25}
stages:
  bad:
    run: pretrain
    size: &size {depth: 2, width: 32, heads: 2, mlp: 64}
    train: {steps: 20, batch: 32, lr: 1.0e+30, clip: null, warmup: 0}
  good:
    run: pretrain
    size: *size
    train: {steps: 30, batch: 32}
  later:
    run: condense
    weights: {stage: bad}
"""

RESNET = """\
name: resnet
family: resnet
config: {img_size: 8, in_chans: 1, num_classes: 10}
data: {kind: digits, limit: 64, validation: 0.25}
stages:
  ancestor:
    run: pretrain
    size: {depth: 8, width: 4}
    train: {steps: 1, batch: 16}
  front:
    run: condense
    weights: {stage: ancestor}
"""


@pytest.mark.slow
def test_after_a_failure_what_runs_is_finished_and_nothing_else_begins(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    recipe, store = load_recipe(path), Store(tmp_path / "store")
    rows = plan(recipe, store)
    together: set[str] = set()

    def on_change(_: StageStatus) -> None:
        running = [row.name for row in rows if row.state in ("queued", "running")]
        together.update(running if len(running) > 1 else ())

    with connect("local", cpus=2) as cluster, pytest.raises(DivergedError):
        run(recipe, store, rows, lambda: cluster, on_change)
    assert together == {"bad", "good"}
    states = {row.name: row.state for row in plan(recipe, store)}
    assert states == {"bad": "waiting", "good": "cached", "later": "waiting"}


@pytest.mark.slow
def test_results_of_a_family_that_has_changed_are_recorded_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RESNET, encoding="utf-8")
    recipe, store = load_recipe(path), Store(tmp_path / "store")
    with connect("local", cpus=1) as cluster:
        run(recipe, store, plan(recipe, store), lambda: cluster, lambda _: None)
    assert {row.name: row.state for row in plan(recipe, store)} == {"ancestor": "cached", "front": "cached"}


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Whoever starts the tests in the background has SIGINT ignored."""
    before = signal(SIGINT, default_int_handler)
    yield
    signal(SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_after_an_interrupt_nothing_runs_and_no_lock_is_held(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    recipe, store = load_recipe(path, ("stages.good.train.steps=100000",)), Store(tmp_path / "store")
    (row,) = rows = [row for row in plan(recipe, store) if row.name == "good"]

    def interrupt() -> None:
        while not store.progress(row.key):
            sleep(0.05)
        pthread_kill(main_thread().ident or 0, SIGINT)

    with connect("local", cpus=2) as cluster:
        Thread(target=interrupt, daemon=True).start()
        with pytest.raises(KeyboardInterrupt):
            run(recipe, store, rows, lambda: cluster, lambda _: None)
        assert store.holder(row.key) is None
        assert store.progress(row.key)["step"] > 0


def test_who_watches_sees_how_far_and_how_fast_a_training_is(tmp_path: Path) -> None:
    store, key = Store(tmp_path), "0" * 64
    row = StageStatus("good", "pretrain", key, "running")
    (tmp_path / "work" / key / "1").mkdir(parents=True)
    (tmp_path / "work" / key / "1" / "progress.json").write_text(
        '{"step": 20, "total": 30, "loss": 1.5, "samples_per_second": 1234.56}'
    )
    refresh(row, store)
    with (console := Console(width=150)).capture() as shown:
        console.print(stage_table([row]))
    assert "20/30, 1,235 samples/s" in shown.get()
    assert "loss 1.5" in shown.get()
