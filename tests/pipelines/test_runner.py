"""The runner: what can run at the same time does, and a failure does not cost what others have done."""

from pathlib import Path

import pytest

from infra.cluster import connect
from pipelines.recipe_file import load_recipe
from pipelines.runner import StageStatus, plan, run
from pipelines.store import Store
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


@pytest.mark.slow
def test_after_a_failure_what_runs_is_finished_and_nothing_else_begins(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE, encoding="utf-8")
    recipe, store = load_recipe(path), Store(tmp_path / "store")
    rows = plan(recipe, store)
    together: set[str] = set()

    def on_change(_: StageStatus) -> None:
        running = [row.name for row in rows if row.state == "running"]
        together.update(running if len(running) > 1 else ())

    with connect("local", cpus=2) as cluster, pytest.raises(DivergedError):
        run(recipe, store, rows, lambda: cluster, on_change)
    assert together == {"bad", "good"}
    states = {row.name: row.state for row in plan(recipe, store)}
    assert states == {"bad": "waiting", "good": "cached", "later": "waiting"}
