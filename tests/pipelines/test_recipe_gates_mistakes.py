"""Gates in recipes: what a bench of the recipe does not measure is said before anything runs."""

from pathlib import Path

import pytest
from pico_recipe import FRONT, PICO

from pipelines.bench.run import load_bench
from pipelines.recipe.file import load_recipe
from pipelines.recipe.identity import stage_keys
from pipelines.run.jobs import resolved
from zoo.errors import BadInputError

GOOD = (
    PICO
    + FRONT
    + """\
bench:
  sizes: [{depth: 2, width: 32, heads: 2}, {depth: 3, width: 32, heads: 2}]
  train: {steps: 2}
  reference: {steps: 4, lr: [0.1]}
  starts:
    front: {learngene: {stage: front}}
    again: {weights: {stage: ancestor}, method: {name: front}}
    bot: {weights: {stage: ancestor}, method: {name: bot, sizes: [{depth: 2, width: 16, heads: 1}]}}
  quick: {bench.sizes: [{depth: 2, width: 32, heads: 2}]}
register:
  pico.front:
    stage: front
    task: digits
    tags: {team: edge}
    gate:
      bench: pico
      metric: accuracy
      sizes: [2x32, 3x32]
      start: front
"""
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "recipe.yaml").write_text(GOOD, encoding="utf-8")
    return tmp_path / "recipe.yaml"


def test_gates_and_tags_change_no_key_and_travel_with_a_job(path: Path) -> None:
    recipe = load_recipe(path)
    again = path.with_name("again.yaml")
    again.write_text(resolved(recipe), encoding="utf-8")
    assert load_recipe(again) == recipe
    plain = load_recipe(path, ("register={}",))
    assert stage_keys(plain) == stage_keys(recipe)


def test_a_quick_bench_registers_nothing_so_its_sizes_need_not_be_those_of_a_gate(path: Path) -> None:
    assert load_bench(path, (), quick=True).entries == {}


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "sizes: [2x32, 3x32]",
            "sizes: [9x32]",
            r"30: register.pico.front.gate.sizes: 9x32 .*legal values: 2x32, 3x32$",
        ),
        ("sizes: [2x32, 3x32]", "sizes: [two]", r"30: register.pico.front.gate.sizes.0: .*pattern.*got 'two'"),
        ("metric: accuracy", "metric: loss", r"29: register.pico.front.gate.metric: 'loss' .*legal value: accuracy$"),
        ("start: front", "start: bot", r"31: register.pico.front.gate.start: 'bot' .*legal values: front, again$"),
        (
            "start: front",
            "begin: front",
            r"31: register.pico.front.gate.begin: unknown field; .*bench, metric, sizes, st",
        ),
        ("      metric: accuracy\n", "", r"27: register.pico.front.gate.metric: Field required"),
        ("team: edge", "gate: edge", r"26: register.pico.front.tags: 'gate' is taken; not legal are recipe, stage, "),
        ("team: edge", "learngene.x: y", r"26: register.pico.front.tags: 'learngene.x' is taken"),
        ("team: edge", "year: 2026", r"26: register.pico.front.tags.year: .*string \(got 2026\)"),
        ("task: digits", 'task: ""', r"25: register.pico.front.task: .*at least 1 character"),
    ],
)
def test_a_mistake_names_its_line_and_what_is_legal(path: Path, old: str, new: str, message: str) -> None:
    assert GOOD.count(old) == 1
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(BadInputError, match=message):
        load_recipe(path)


def test_a_gate_asks_for_a_bench_that_there_is_and_a_learngene_that_takes_part(path: Path) -> None:
    before, _, after = GOOD.partition("bench:\n")
    path.write_text(before + "register" + after.partition("register")[2], encoding="utf-8")
    with pytest.raises(BadInputError, match=r"gate.bench: this recipe has no bench; add one, or name that of another"):
        load_recipe(path)
    other = GOOD.replace("again: {weights: {stage: ancestor}, method: {name: front}}", "").replace(
        "front: {learngene: {stage: front}}", ""
    )
    path.write_text(other, encoding="utf-8")
    with pytest.raises(BadInputError, match=r"gate.bench: no start of the bench is the learngene of stage 'front'"):
        load_recipe(path)
