"""Recipes: what is wrong is said with file, line, field and the legal values."""

from pathlib import Path

import pytest
from pico_recipe import FRONT, PICO, WEIT

from pipelines.recipe.file import load_recipe
from zoo.errors import BadInputError, NotFoundError

GOOD = (
    PICO
    + WEIT
    + """\
    train:
      steps: 4
      batch: 32
    resources: {workers: 2, engine: deepspeed, zero: 1}
"""
    + FRONT
    + """\
register:
  pico.weit: {stage: weit}
"""
)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(GOOD, encoding="utf-8")
    return path


def refused(path: Path, old: str, new: str) -> str:
    assert old in GOOD
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(BadInputError) as error:
        load_recipe(path)
    return str(error.value).replace(str(path), "FILE")


def test_stages_come_after_what_they_refer_to(recipe: Path) -> None:
    text = GOOD.replace("  ancestor:", "  zzz:").replace("stage: ancestor", "stage: zzz")
    recipe.write_text(text, encoding="utf-8")
    order = load_recipe(recipe).order()
    assert order.index("zzz") < order.index("front")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "      batch: 32",
            "      bach: 32",
            "FILE:16: stages.weit.train.bach: unknown field; legal fields: epochs, steps",
        ),
        ("      batch: 32", "      batch: much", "FILE:16: stages.weit.train.batch: .*integer.*'much'"),
        (
            "tile: 16",
            "tiles: 16",
            "FILE:13: stages.weit.method.tiles: unknown field; legal fields: name, tile, templates",
        ),
        ("kind: digits", "kind: digts", "FILE:4: data: .*'digits', 'webdataset'"),
        ("kind: digits", "kind: digits, classes: 10", "FILE:4: data.classes: unknown field; legal fields:"),
        ("run: condense", "run: condens", "FILE:18: stages.front: .*'pretrain', 'weit', .*'condense'"),
        (
            "weights: {stage: ancestor}",
            "weights: {stage: weet}",
            "FILE:20: stages.front.weights.stage: .*'weet'.*ancestor",
        ),
        ("weights: {stage: ancestor}", "weights: {stage: front}", "FILE:5: stages: .*circle: front -> front"),
        (
            "weights: {stage: ancestor}",
            "weights: {stag: ancestor}",
            "FILE:20: stages.front.weights: one of {stage: NAME}",
        ),
        ("weights: {stage: ancestor}", "weights: {folder: no/where}", "FILE:20: .*'no/where' is no checkpoint folder"),
        (
            "run: condense\n    weights: {stage: ancestor}",
            "run: fit\n    learngene: {stage: ancestor}\n    size: {depth: 1, width: 16, heads: 1}"
            "\n    train: {steps: 1}",
            "FILE:20: stages.front.learngene: stage 'ancestor' gives no learngene",
        ),
        ("family: vit", "family: bert", "FILE:3: config.*img_size: .*fields of 'bert': vocab_size"),
        (
            "heads: 2}\n    method",
            "heads: 0}\n    method",
            "FILE:12: stages.weit.size: heads: missing; .* has attention",
        ),
        ("{stage: weit}\n", "{stage: wet}\n", "FILE:22: register.pico.weit.stage: .*'wet'"),
        ("{stage: weit}\n", "{stage: ancestor}\n", "FILE:22: register.pico.weit: .*checkpoint, not a learngene"),
        ("tile: 16", "tile: 24", "FILE:12: stages.weit.size: width: 32 .*24 .*legal values nearby: 24, 48"),
        (
            "width: 32, heads: 2}\n    train",
            "width: 32, heads: 3}\n    train",
            "FILE:8: .*heads: 3 .*legal heads: 1, 2, 4",
        ),
        ("zero: 1", "zero: 3", "FILE:17: stages.weit.resources.zero: 3 is not possible for a learngene.*0, 1, 2"),
        ("workers: 2, engine: deepspeed", "workers: 2", "FILE:17: .*zero needs engine: deepspeed"),
        ("workers: 2", "workers: 99", "FILE:16: stages.weit.train.batch: .*99 workers"),
        ("    run: condense\n", "", "FILE:18: stages.front: field 'run' is missing"),
        ("kind: digits", "kind: digits, validation: 0", "FILE:4: data.validation: 0, .*legal values"),
        ("num_classes: 10", "num_classes: 9", "FILE:3: config.num_classes: 9, but the data have 10"),
        ("patch_size: 4", "patch_size: 3", "FILE:3: config: patch_size 3 does not divide img_size 8; legal: 1, 2"),
        ("family: vit", "family: vitt", "FILE:2: family: 'vitt' is not known; legal values: vit"),
        ("steps: 4, batch", "batch", "FILE:9: stages.ancestor.train: give either epochs or steps"),
        ("name: pico", "name: [", "FILE:.*not valid YAML"),
        ("name: pico", "nam: pico", "FILE:1: nam: unknown field"),
    ],
)
def test_a_mistake_is_named_with_its_place_and_what_is_legal(recipe: Path, old: str, new: str, message: str) -> None:
    text = refused(recipe, old, new)
    import re

    assert any(re.match(message, line) for line in text.splitlines()), text


def test_all_mistakes_are_named_at_once(recipe: Path) -> None:
    text = refused(recipe, "batch: 32}\n", "batch: 0, lr: -1}\n")
    assert "stages.ancestor.train.batch" in text
    assert "stages.ancestor.train.lr" in text


def test_set_overrides_a_field_and_its_mistakes_point_to_it(recipe: Path) -> None:
    changed = load_recipe(recipe, ("stages.weit.train.lr=0.5",)).stages["weit"]
    assert changed.train.lr == 0.5  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(BadInputError, match=r"--set: stages.weit.train.lrr: unknown field; legal fields: .*lr"):
        load_recipe(recipe, ("stages.weit.train.lrr=0.5",))
    with pytest.raises(BadInputError, match="write field=value"):
        load_recipe(recipe, ("stages.weit.train.lr",))


def test_set_changes_one_place_even_where_an_alias_repeats_it(recipe: Path) -> None:
    text = GOOD.replace("train: {steps: 4, batch: 32}", "train: &t {steps: 4, batch: 32}")
    text = text.replace("    train:\n      steps: 4\n      batch: 32\n", "    train: *t\n")
    assert "*t" in text
    recipe.write_text(text, encoding="utf-8")
    stages = load_recipe(recipe, ("stages.ancestor.train.lr=0.5",)).stages
    assert stages["ancestor"].train.lr == 0.5  # pyright: ignore[reportAttributeAccessIssue]
    assert stages["weit"].train.lr == 1e-3  # pyright: ignore[reportAttributeAccessIssue]


def test_a_field_that_stands_twice_is_refused(recipe: Path) -> None:
    text = refused(recipe, "    train: {steps: 4, batch: 32}\n", "    train: {steps: 4}\n    train: {steps: 5}\n")
    assert text == "FILE:10: train: the field stands here a second time"


def test_a_recipe_that_is_no_text_is_refused(recipe: Path) -> None:
    recipe.write_bytes(b"name: \xff\xfe")
    with pytest.raises(BadInputError, match="not valid YAML"):
        load_recipe(recipe)


def test_a_missing_recipe_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such recipe"):
        load_recipe(tmp_path / "nothing.yaml")


@pytest.mark.parametrize("name", ["demo", "vit-cifar10"])
def test_the_shipped_recipes_are_valid(name: str) -> None:
    recipe = load_recipe(Path(__file__).parents[2] / "pipelines/recipes" / f"{name}.yaml")
    assert recipe.name == name
    assert recipe.entries
