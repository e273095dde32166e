"""Stage keys: what changes them and what does not."""

import json
from pathlib import Path

import pytest

from pipelines.recipe.file import load_recipe
from pipelines.recipe.identity import describe, stage_keys
from pipelines.recipe.recipe import Recipe
from zoo.methods.front import Front

RECIPE = Path(__file__).parents[2] / "pipelines/recipes/demo.yaml"


def keys(*overrides: str) -> dict[str, str]:
    return stage_keys(load_recipe(RECIPE, overrides))


def changed(*overrides: str) -> set[str]:
    before, after = keys(), keys(*overrides)
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize(
    "resource",
    [
        "workers=4",
        "cpus_per_worker=2",
        "memory=4GiB",
        "custom={A100: 1}",
        "engine=deepspeed",
        "micro_batch=8",
        "checkpoint_every=7",
    ],
)
def test_resources_do_not_matter(resource: str) -> None:
    assert changed(f"stages.ancestor.resources.{resource}") == set()


def test_the_stage_of_zero_does_not_matter() -> None:
    assert changed("stages.weit.resources.engine=deepspeed", "stages.weit.resources.zero=2") == set()


def test_the_learning_rate_matters_to_its_stage_and_what_depends_on_it() -> None:
    assert changed("stages.ancestor.train.lr=0.5") == {"ancestor", "front"}
    assert changed("stages.weit.train.lr=0.5") == {"weit"}


def test_a_field_that_is_null_leaves_no_trace_and_is_told_apart_from_any_value() -> None:
    """So stages that gain an optional field keep their keys."""
    recipe = load_recipe(RECIPE)
    assert "null" not in json.dumps(describe(recipe, recipe.stages["ancestor"], {})["config"])
    assert changed("stages.ancestor.train.clip=null") == {"ancestor", "front"}


def test_a_family_whose_tensors_mean_something_else_now_has_new_keys() -> None:
    """Closed forms too, which see weights only; families that never changed keep theirs."""
    recipe = load_recipe(RECIPE)
    of_resnet = recipe.model_copy(update={"family": "resnet", "config": {"img_size": 32}})
    front = recipe.stages["front"]
    before, after = (describe(r, front, {"ancestor": "a"}) for r in (recipe, of_resnet))
    assert ("family_version" in before["config"], after["config"]["family_version"]) == (False, 2)


def test_options_of_a_method_matter_to_its_stage_only() -> None:
    assert changed("stages.front.method.keep=0.5") == {"front"}


def test_the_version_of_a_method_matters_to_its_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    before = keys()
    monkeypatch.setattr(Front, "version", 2)
    after = keys()
    assert {name for name in before if before[name] != after[name]} == {"front"}


def test_the_data_matter_to_what_is_trained_on_them() -> None:
    assert changed("data.limit=100") == {"ancestor", "weit", "front"}


def test_spelling_out_a_default_changes_nothing() -> None:
    assert changed("stages.weit.train.weight_decay=0.05") == set()
    assert changed("stages.front.method.normalization=functional") == set()


def test_names_do_not_matter() -> None:
    recipe = load_recipe(RECIPE)
    content = recipe.model_dump(by_alias=True)
    content["name"] = "other"
    content["stages"]["grandmother"] = content["stages"].pop("ancestor")
    content["stages"]["front"]["weights"] = {"stage": "grandmother"}
    renamed = stage_keys(Recipe.model_validate(content))
    assert renamed["grandmother"] == keys()["ancestor"]
    assert renamed["front"] == keys()["front"]
