"""Profiles: the same recipe with other resources, and mistakes in the profile's own words."""

from pathlib import Path

import pytest

from infra.resources import Demand, Resources
from pipelines.recipe.file import load_recipe
from pipelines.recipe.identity import stage_keys
from pipelines.recipe.stages import Condense, Stage
from pipelines.run.execute import demand
from trainers.config import Execution
from zoo.errors import BadInputError, NotFoundError

RECIPE = Path(__file__).parents[2] / "pipelines/recipes/demo.yaml"


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    return tmp_path / "cluster.yaml"


def resources(profile: Path, stage: str, *overrides: str) -> Execution:
    return of(load_recipe(RECIPE, overrides, profile=profile).stages[stage])


def of(stage: Stage) -> Execution:
    assert not isinstance(stage, Condense)
    return stage.resources


def test_a_profile_goes_before_the_recipe_names_before_kinds_and_overrides_before_all(profile: Path) -> None:
    profile.write_text(
        "run: {pretrain: {workers: 2, cpus_per_worker: 3, memory: 4GiB}}\nstages: {'anc*': {cpus_per_worker: 5}}\n"
    )
    got = resources(profile, "ancestor", "stages.ancestor.resources.memory=1GiB")
    assert (got.workers, got.cpus_per_worker, got.memory) == (2, 5, 2**30)
    own = load_recipe(RECIPE).stages["weit"]
    assert resources(profile, "weit") == of(own)


def test_a_profile_adds_to_what_the_recipe_says(profile: Path) -> None:
    profile.write_text("run: {weit: {custom: {A100: 0.5}}}\n")
    before, after = load_recipe(RECIPE).stages["weit"], resources(profile, "weit", "stages.weit.resources.workers=4")
    assert after == of(before).model_copy(update={"custom": {"A100": 0.5}, "workers": 4})


def test_a_profile_changes_no_key(profile: Path) -> None:
    profile.write_text("stages: {'*': {workers: 4, memory: 2GiB, custom: {spot: 1}, checkpoint_every: 3}}\n")
    assert stage_keys(load_recipe(RECIPE, profile=profile)) == stage_keys(load_recipe(RECIPE))


def test_what_a_stage_asks_for_reaches_the_cluster(profile: Path) -> None:
    profile.write_text("run: {pretrain: {workers: 2, cpus_per_worker: 3, memory: 4GiB, custom: {A100: 1}}}\n")
    recipe = load_recipe(RECIPE, profile=profile)
    asked = demand(recipe.stages["ancestor"])
    assert asked == Demand(Resources(3, 0, 4 * 2**30, {"A100": 1}), 2)
    assert asked.resources.amounts() == {"CPU": 3, "memory": 4 * 2**30, "A100": 1}
    assert demand(recipe.stages["front"]) == Demand(Resources())


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("run:\n  pretrain: {worker: 2}", r"cluster.yaml:2: run.pretrain.worker: unknown field; legal fields: workers"),
        ("run: {condense: {workers: 2}}", r"run.condense: no such kind with resources; legal: pretrain, weit"),
        ("run: {pretrain: {workers: 0}}", r"cluster.yaml:1: stages.ancestor.resources.workers: .* \(got 0\)"),
        ("run: {pretrain: {custom: {GPU: 1}}}", r"'GPU' is a resource with a field of its own"),
        ("run: {pretrain: {memory: lots}}", r"cluster.yaml:1: stages.ancestor.resources.memory: .* \(got 'lots'\)"),
        ("workers: 2", r"cluster.yaml:1: workers: unknown field; legal fields: run, stages"),
        ("run: {pretrain: 2}", r"cluster.yaml:1: run.pretrain: .* \(got 2\)"),
        ("2", r"a profile is a mapping"),
    ],
)
def test_mistakes_name_the_line_of_the_profile(profile: Path, text: str, wrong: str) -> None:
    profile.write_text(text)
    with pytest.raises(BadInputError, match=wrong):
        load_recipe(RECIPE, profile=profile)


def test_a_profile_that_is_not_there_is_not_found(profile: Path) -> None:
    with pytest.raises(NotFoundError, match="no such profile"):
        load_recipe(RECIPE, profile=profile)


@pytest.mark.parametrize(("nodes", "placement"), [("null", "PACK"), ("1", "STRICT_PACK"), ("2", "STRICT_SPREAD")])
def test_the_number_of_nodes_says_which_of_them_workers_share(profile: Path, nodes: str, placement: str) -> None:
    profile.write_text(f"run: {{pretrain: {{workers: 2, nodes: {nodes}}}}}\n")
    assert demand(load_recipe(RECIPE, profile=profile).stages["ancestor"]).placement == placement


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ("workers: 4, nodes: 2", r"nodes is 2, workers 4; legal: 1, 4 or null"),
        ("workers: 4, nodes: 4, min_workers: 2", r"nodes does not go with min_workers"),
    ],
)
def test_nodes_that_workers_cannot_be_dealt_to_are_refused(profile: Path, fields: str, why: str) -> None:
    profile.write_text(f"run: {{pretrain: {{{fields}}}}}\n")
    with pytest.raises(BadInputError, match=why):
        load_recipe(RECIPE, profile=profile)
