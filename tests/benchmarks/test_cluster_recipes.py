"""The recipes of the benchmarks that need a cluster are what those benchmarks take them for."""

from pathlib import Path

from benchmarks.faults.run import RECIPE, STAGE, STAGES, STEPS
from benchmarks.overhead import GROUP, many_stages, one_stage
from benchmarks.overhead import STAGES as MANY
from pipelines.recipe.file import load_recipe
from pipelines.recipe.stages import Weit


def test_the_disturbed_recipe_has_the_stage_and_the_steps_that_faults_wait_for() -> None:
    recipe = load_recipe(RECIPE, ())
    stage = recipe.stages[STAGE]
    assert isinstance(stage, Weit)
    assert (len(recipe.stages), stage.train.steps, stage.resources.workers) == (STAGES, STEPS, 2)
    assert all(stage.train.batch % workers == 0 for workers in (1, 2, 3))


def test_the_recipes_of_overhead_are_legal(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(many_stages(), encoding="utf-8")
    assert len(load_recipe(path, ()).stages) == MANY
    path.write_text(one_stage(GROUP), encoding="utf-8")
    assert len(load_recipe(path, ()).stages) == 1
